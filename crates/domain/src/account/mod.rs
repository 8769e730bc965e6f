//! People and what they may do. Roles are in [`role`]. What is kept of an account is the store's, who sends a request is
//! the web's.

pub mod role;

pub use role::{Role, Theme};
