//! The pages' routes.
use super::Api;
use axum::Router;
use std::sync::Arc;
pub(super) fn router() -> Router<Arc<Api>> {
    Router::new()
}
