//! Postgres: one session that asks `SELECT 1` and what the check wants to know, and leaves. Owns the statements, what an
//! error means, and the facts; the wire is `wire`'s, logging in `login`'s.
//!
//! The session is read-only twice: by `default_transaction_read_only`, and because every statement runs in a transaction
//! that begins `READ ONLY`. The second holds behind a connection pooler, too, which lends out sessions and may not take
//! the first; nothing is set there that would stay with a session after the run.

mod facts;
mod login;
mod scram;
mod wire;

use dynowatch_domain::check::kind::{PostgresCheck, PostgresRole};
use dynowatch_domain::check::target::Target;
use dynowatch_domain::check::{Assertion, Phase, Reason};

use crate::Prober;
use crate::trace::{Failure, Trace};
use wire::{ServerError, Session, Trouble};

/// The part of a run's deadline that one statement may take: the server gives up before we do, and says so.
const STATEMENT_SHARE_PERCENT: u64 = 80;

pub(crate) async fn run(
    prober: &Prober,
    check: &PostgresCheck,
    assertions: &[Assertion],
    target: &Target,
    timeout_ms: u64,
    trace: &mut Trace,
) -> Result<(), Failure> {
    let statement_ms = (timeout_ms.saturating_mul(STATEMENT_SHARE_PERCENT) / 100).max(1);
    let mut session = login::open(prober, check, target, statement_ms, trace).await?;
    trace.enter(Phase::Body);
    let answered = ask(&mut session, check, assertions, statement_ms, trace).await;
    // Whatever came of it: the server is told, so that no session is left behind for it to find out about.
    session.leave(trace).await;
    answered?;
    trace.leave();
    Ok(())
}

async fn ask(
    session: &mut Session,
    check: &PostgresCheck,
    assertions: &[Assertion],
    statement_ms: u64,
    trace: &mut Trace,
) -> Result<(), Failure> {
    let mut asking = facts::Asking { session, statement_ms, trace };
    asking.alive().await?;
    let uses = |root: &str| assertions.iter().any(|assertion| assertion.subject().root == root);
    let wants_lag = uses("lag");
    if check.role != PostgresRole::Any || uses("recovery") || wants_lag {
        asking.recovery(check.role, wants_lag).await?;
    }
    if let Some(table) = &check.table {
        asking.table(table).await?;
    }
    asking.connections().await?;
    if uses("version") {
        asking.version();
    }
    if let Some(query) = &check.query {
        asking.query(query, assertions).await?;
    }
    Ok(())
}

/// What an error of the server means (Postgres, appendix A: error codes).
fn reason(error: &ServerError) -> Reason {
    let message = error.message.to_ascii_lowercase();
    match error.code.as_str() {
        "28P01" => Reason::AuthFailed,
        "28000" if message.contains("no encryption") || message.contains("ssl off") => Reason::TlsRequired,
        "28000" => Reason::AuthFailed,
        "3D000" => Reason::NoDatabase,
        "53300" => Reason::TooManyConnections,
        "57P03" => Reason::Starting,
        "57P01" | "57P02" => Reason::ShuttingDown,
        "57014" => Reason::QueryTimeout,
        "42501" => Reason::NoPermission,
        "25006" => Reason::QueryWrites,
        "42P01" => Reason::TableMissing,
        // PgBouncer speaks of its own limits, its databases and its passwords in one code.
        "08P01" if message.contains("no such database") => Reason::NoDatabase,
        "08P01" if message.contains("no more connections") => Reason::TooManyConnections,
        "08P01" if message.contains("password authentication failed") => Reason::AuthFailed,
        code => match code.get(..2).unwrap_or("") {
            "28" => Reason::AuthFailed,
            "42" | "0A" => Reason::QueryInvalid,
            "53" => Reason::OutOfResources,
            "08" => Reason::BadReply,
            _ => Reason::QueryFailed,
        },
    }
}

fn failure(error: &ServerError) -> Failure {
    Failure::new(reason(error), format!("{} (SQLSTATE {})", error.message, error.code))
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Server(error) => failure(&error),
            Trouble::Wire(failure) => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_reason() {
        for (code, message, want) in [
            ("28P01", "password authentication failed for user \"u\"", Reason::AuthFailed),
            (
                "28000",
                "no pg_hba.conf entry for host \"1.2.3.4\", user \"u\", database \"d\", no encryption",
                Reason::TlsRequired,
            ),
            ("28000", "role \"u\" is not permitted to log in", Reason::AuthFailed),
            ("3D000", "database \"d\" does not exist", Reason::NoDatabase),
            (
                "53300",
                "remaining connection slots are reserved for non-replication superuser connections",
                Reason::TooManyConnections,
            ),
            ("53300", "too many connections for role \"u\"", Reason::TooManyConnections),
            ("57P03", "the database system is starting up", Reason::Starting),
            ("57P01", "terminating connection due to administrator command", Reason::ShuttingDown),
            ("57014", "canceling statement due to statement timeout", Reason::QueryTimeout),
            ("42501", "permission denied for table t", Reason::NoPermission),
            ("25006", "cannot execute INSERT in a read-only transaction", Reason::QueryWrites),
            ("42P01", "relation \"t\" does not exist", Reason::TableMissing),
            ("42601", "syntax error at or near \"selec\"", Reason::QueryInvalid),
            ("22012", "division by zero", Reason::QueryFailed),
            ("53100", "could not extend file: No space left on device", Reason::OutOfResources),
            ("08P01", "no more connections allowed (max_client_conn)", Reason::TooManyConnections),
            ("", "", Reason::QueryFailed),
        ] {
            let error = ServerError { code: code.to_owned(), message: message.to_owned() };
            assert_eq!(reason(&error), want, "{code} {message}");
        }
    }
}
