//! People who may sign in: their rows, their sign-ins, authenticators, links and identities. Every change is one transaction
//! with its entry in the audit log. Passwords, tokens and codes come in as hashes, seeds sealed: who reads the database
//! can sign in nowhere.

pub mod authenticators;
pub mod challenges;
pub mod identities;
pub mod links;
pub mod sessions;
pub mod users;

pub use authenticators::{Authenticator, Factor, FirstCode};
pub use challenges::{Challenge, Confirmed, NewChallenge};
pub use links::{Link, LinkKind};
pub use sessions::{NewSession, Session};
pub use users::{NewUser, User};

/// Executes one statement in a transaction and says how many rows it changed.
macro_rules! exec {
    ($tx:expr, $query:expr) => {
        $crate::db::on!($tx, Engine, conn, $query.execute(conn).await?.rows_affected())
    };
}
pub(crate) use exec;
