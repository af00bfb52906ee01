//! What a path names.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::problem::Problem;

/// The one name in a path. If it is not UTF-8, or holds a NUL character, which PostgreSQL can't even compare with, the
/// request is refused like any other mistake.
#[derive(Debug)]
pub(super) struct PathName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) if name.contains('\0') => {
                Err(Problem::bad_parameter("The path names something with a NUL character."))
            }
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => Err(Problem::bad_parameter("The path names something that is not UTF-8.")),
        }
    }
}
