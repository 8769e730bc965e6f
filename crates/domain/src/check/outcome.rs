//! What a run of a check can come to: four outcomes, and one named reason for each that is not `up`. Owns the names, their
//! outcomes and their sentences; how replies of servers become reasons is `probe`'s business, what follows from a row of
//! outcomes the state machine's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parse::Invalid;

/// What one run says of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything was measured and is as it should be.
    Up,
    /// It serves, but not as it should.
    Degraded,
    /// It does not serve, or an assertion failed.
    Down,
    /// It could not be measured. Never counted as up, never as down.
    Unknown,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::Degraded, Self::Down, Self::Unknown];

    /// As in tables, URLs and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    /// Which of several findings speaks for the run: what is proved bad before what is not known, and both before up.
    #[must_use]
    pub const fn weight(self) -> u8 {
        match self {
            Self::Up => 0,
            Self::Unknown => 1,
            Self::Degraded => 2,
            Self::Down => 3,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Outcome {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.name() == text)
            .ok_or_else(|| Invalid(format!("{text:?} is not an outcome: write up, degraded, down or unknown")))
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $code:literal $outcome:ident $misconfigured:ident $sentence:literal)*) => {
        /// Why a run was not `up`. Each has one outcome, one name and one sentence for people.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $(
                $(#[$doc])*
                #[doc = $sentence]
                #[serde(rename = $code)]
                $variant,
            )*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The unique name, as it is stored: [`Self::name`], save for the one name that two kinds of target share.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// What it says of the target.
            #[must_use]
            pub const fn outcome(self) -> Outcome {
                match self { $(Self::$variant => Outcome::$outcome),* }
            }

            /// Whether it is the check that must be changed, not the target: the state is then `misconfigured` and nobody
            /// is paged.
            #[must_use]
            pub const fn is_misconfigured(self) -> bool {
                match self { $(Self::$variant => misconfigured!($misconfigured)),* }
            }

            /// One plain sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence),* }
            }
        }
    };
}

macro_rules! misconfigured {
    (target) => {
        false
    };
    (check) => {
        true
    };
}

// `check` marks what only a change of the check can mend; its outcome is then unknown: nothing was learnt of the target.
reasons! {
    // The way there.
    DnsNotFound "dns_not_found" Down target "The host name does not exist."
    DnsNoRecords "dns_no_records" Down target "The name exists but has no records of the wanted type."
    DnsFailed "dns_failed" Down target "The host name could not be looked up."
    AddressRefused "address_refused" Unknown check "The host resolves to an address that checks may not reach unless its range is allow-listed."
    ConnectRefused "connect_refused" Down target "Nothing listens on that port."
    Unreachable "unreachable" Down target "There is no way to the address."
    ConnectionReset "connection_reset" Down target "The server dropped the connection."
    ClosedEarly "closed_early" Down target "The server ended the connection before its answer was complete."
    Timeout "timeout" Down target "The answer was not complete in time."
    BadReply "bad_reply" Down target "The answer does not follow the protocol."
    ReplyTooLarge "reply_too_large" Down target "The answer is larger than a check reads."

    // TLS.
    TlsFailed "tls_failed" Down target "The TLS handshake failed."
    TlsMismatch "tls_mismatch" Unknown check "One side speaks TLS and the other does not: the scheme of the URL does not fit the port."
    TlsRefused "tls_refused" Unknown check "The server does not speak TLS, which the check requires."
    TlsRequired "tls_required" Unknown check "The server requires TLS, which the check does not use."
    CertificateExpired "certificate_expired" Down target "The certificate has expired."
    CertificateNotYetValid "certificate_not_yet_valid" Down target "The certificate is not valid yet."
    CertificateWrongName "certificate_wrong_name" Down target "The certificate is for another name."
    CertificateUntrusted "certificate_untrusted" Down target "The certificate does not lead to a trusted root."
    CertificateInvalid "certificate_invalid" Down target "The certificate cannot be verified."
    PinChanged "pin_changed" Down target "The server shows another key than the one that was pinned."

    // Web.
    StatusUnexpected "status_unexpected" Down target "The status is not the expected one."
    RedirectUnexpected "redirect_unexpected" Down target "The answer is a redirect, which the check does not expect."
    RedirectTooMany "redirect_too_many" Down target "There are more redirects than the check follows."
    RedirectToOtherHost "redirect_to_other_host" Down target "A redirect leads to another host, where the check may not follow."
    HeaderMissing "header_missing" Down target "The answer does not have the header."
    BodyNotJson "body_not_json" Down target "The body is not JSON."
    BodyNotText "body_not_text" Down target "The body is not text that can be read."
    PathMissing "path_missing" Down target "The body has nothing at that path."

    // Assertions on what was measured.
    AssertionFailed "assertion_failed" Down target "An assertion does not hold."
    AssertionDegraded "assertion_degraded" Degraded target "An assertion whose failure means degraded does not hold."
    NotMeasured "not_measured" Unknown target "A value that an assertion needs could not be measured."

    // Redis and Valkey.
    AuthRequired "auth_required" Down target "The server wants a password and the URL has none: the check or the URL is misconfigured."
    AuthFailed "auth_failed" Down target "The server does not accept the user and password."
    MaxClients "max_clients" Down target "All client slots of the server are used."
    Loading "loading" Degraded target "The server is loading its data."
    MasterDown "master_down" Down target "The replica has lost its master and does not serve stale data."
    NoPermission "no_permission" Unknown target "The user may not do what the check needs."
    WrongType "wrong_type" Unknown check "The key holds another type than the check asks for."
    /// Called `no_database`, too: Redis numbers its databases, and a number out of range is the URL's mistake.
    RedisNoDatabase "redis_no_database" Unknown check "The server has no database of that number."
    OutOfMemory "out_of_memory" Degraded target "Memory is used up: the server refuses writes."
    WritesRefused "writes_refused" Degraded target "The server refuses writes because it cannot save them."
    Busy "busy" Degraded target "The server is busy with a script."
    ClusterDown "cluster_down" Down target "The cluster does not serve this key."
    KeyElsewhere "key_elsewhere" Unknown check "The key lies on another node of the cluster."
    ProtectedMode "protected_mode" Unknown check "The server takes local connections only: it runs in protected mode."

    // Postgres.
    NoDatabase "no_database" Down target "The server has no database of that name."
    TooManyConnections "too_many_connections" Down target "All connections of the server, database or user are used."
    Starting "starting" Degraded target "The server is starting."
    ShuttingDown "shutting_down" Degraded target "The server is shutting down."
    QueryTimeout "query_timeout" Down target "A statement took longer than the check allows."
    TableMissing "table_missing" Down target "The table does not exist."
    CannotSeeSchema "cannot_see_schema" Unknown target "The user may not look into the schema, so whether the table exists is not known."
    UnquotedCapitals "unquoted_capitals" Unknown check "The table's name has capitals and is not quoted: Postgres looks for it in lower case."
    ReadOnly "read_only" Degraded target "The server takes no writes: it is a follower, or set to read only."
    QueryFailed "query_failed" Down target "The query failed."
    QueryInvalid "query_invalid" Unknown check "The query is not valid on this server."
    QueryWrites "query_writes" Unknown check "The query would write, which a check never does."
    OutOfResources "out_of_resources" Down target "The server is out of memory, disk or other resources."

    // Heartbeats.
    HeartbeatMissed "heartbeat_missed" Down target "No ping came in time."
    HeartbeatFailed "heartbeat_failed" Down target "The job said that it failed."
    HeartbeatUnfinished "heartbeat_unfinished" Down target "The job started and did not finish in time."

    // Heroku.
    DynosCrashed "dynos_crashed" Down target "Dynos have crashed."
    DynosMissing "dynos_missing" Degraded target "Fewer dynos are up than the formation wants."
    FormationEmpty "formation_empty" Down target "The formation has no dynos of that process type."
    ReleaseFailed "release_failed" Degraded target "The latest release failed."
    MaintenanceMode "maintenance_mode" Unknown target "The app is in maintenance mode."
    HerokuUnavailable "heroku_unavailable" Unknown target "Heroku's API does not answer."
    HerokuRefused "heroku_refused" Unknown check "Heroku's API refuses the key or does not know the app."

    // Ourselves.
    TargetMissing "target_missing" Unknown check "The config var that names the target is not there."
    TargetInvalid "target_invalid" Unknown check "The URL of the target cannot be used."
    ProberBlind "prober_blind" Unknown target "Our own way out is broken: the control targets do not answer either."
    ProberFailed "prober_failed" Unknown target "The check could not be run."
}

impl Reason {
    /// The name as people know it: `auth_failed`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RedisNoDatabase => Self::NoDatabase.code(),
            other => other.code(),
        }
    }

    /// Whether one run that ends with it is enough to be down: a job that did not report is looked at once, not each minute.
    #[must_use]
    pub const fn is_decisive(self) -> bool {
        matches!(self, Self::HeartbeatMissed | Self::HeartbeatUnfinished)
    }

    /// Which of several reasons speaks for the run; the greater one. Among those that say nothing of the target, one that
    /// only a change of the check mends comes first.
    #[must_use]
    pub const fn weight(self) -> (u8, bool) {
        (self.outcome().weight(), self.is_misconfigured())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads [`Reason::code`].
impl FromStr for Reason {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.iter().find(|reason| reason.code() == text);
        found.copied().ok_or_else(|| Invalid(format!("{text:?} is not a reason of a check")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_read_back() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(reason.code().parse(), Ok(*reason));
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{}\"", reason.code()));
            assert!(reason.sentence().ends_with('.'), "{reason}");
            assert_ne!(reason.outcome(), Outcome::Up, "{reason}");
            // Nothing is said of a target that was not reached as configured: it is not down.
            assert!(!reason.is_misconfigured() || reason.outcome() == Outcome::Unknown, "{reason}");
        }
        for outcome in Outcome::ALL {
            assert_eq!(outcome.name().parse(), Ok(outcome));
        }
    }

    /// The tables of server replies: name, outcome, and whether the check is at fault.
    #[test]
    fn reasons_mean_what_the_tables_say() {
        use Outcome::{Degraded, Down, Unknown};
        for (reason, name, outcome, misconfigured) in [
            (Reason::AuthRequired, "auth_required", Down, false),
            (Reason::AuthFailed, "auth_failed", Down, false),
            (Reason::MaxClients, "max_clients", Down, false),
            (Reason::Loading, "loading", Degraded, false),
            (Reason::MasterDown, "master_down", Down, false),
            (Reason::NoPermission, "no_permission", Unknown, false),
            (Reason::WrongType, "wrong_type", Unknown, true),
            (Reason::RedisNoDatabase, "no_database", Unknown, true),
            (Reason::TlsMismatch, "tls_mismatch", Unknown, true),
            (Reason::NoDatabase, "no_database", Down, false),
            (Reason::TooManyConnections, "too_many_connections", Down, false),
            (Reason::Starting, "starting", Degraded, false),
            (Reason::ShuttingDown, "shutting_down", Degraded, false),
            (Reason::QueryTimeout, "query_timeout", Down, false),
            (Reason::TlsRefused, "tls_refused", Unknown, true),
            (Reason::TableMissing, "table_missing", Down, false),
            (Reason::CannotSeeSchema, "cannot_see_schema", Unknown, false),
            (Reason::UnquotedCapitals, "unquoted_capitals", Unknown, true),
            (Reason::ReadOnly, "read_only", Degraded, false),
        ] {
            assert_eq!((reason.name(), reason.outcome()), (name, outcome));
            assert_eq!(reason.is_misconfigured(), misconfigured, "{name}");
        }
    }

    #[test]
    fn proof_outweighs_ignorance() {
        let order = [Reason::NoPermission, Reason::WrongType, Reason::Loading, Reason::Timeout];
        for (light, heavy) in order.iter().zip(&order[1..]) {
            assert!(light.weight() < heavy.weight(), "{light} {heavy}");
        }
    }
}
