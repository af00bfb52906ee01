//! The database: the only place with SQL.
//!
//! Its functions are named after what the program does, so that nothing outside knows which database it is.

mod error;
mod sqlite;

pub use error::StoreError;
pub use sqlite::*;
