//! From a Logplex record to the neutral [`Signal`] that rules speak of. The only place where the two crates' words meet; an
//! intake for another carrier is a second module like this one.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::release::{Release, ReleaseKind};
use dynowatch_domain::signal::{Code, Kind, Signal, Source};
use dynowatch_logplex as logplex;
use logplex::{ApiEvent, Letter, Message, PostgresLevel, Record};

/// The signal of a record. `with_path` asks for the request's path, which costs a strict parse of the line.
#[inline]
pub(crate) fn signal<'a>(message: &Message<'a>, record: &Record<'a>, at: Timestamp, with_path: bool) -> Signal<'a> {
    let (dyno, status, path) = match record {
        Record::Router(line) => (line.dyno(), line.status(), if with_path { line.path() } else { None }),
        _ => (message.proc_id, None, None),
    };
    Signal {
        at,
        source: source(message),
        kind: kind(record),
        process: message.proc_id,
        dyno,
        code: record.code().and_then(code),
        status,
        path,
        text: message.text,
    }
}

/// Anything that is not the platform's own is the app's.
#[inline]
pub(crate) fn source(message: &Message<'_>) -> Source {
    if message.app_name == b"heroku" { Source::Heroku } else { Source::App }
}

#[inline]
fn code(code: logplex::Code) -> Option<Code> {
    let letter = match code.letter() {
        Letter::H => b'H',
        Letter::R => b'R',
        Letter::L => b'L',
    };
    Code::new(letter, code.number())
}

#[inline]
fn kind(record: &Record<'_>) -> Kind {
    match record.kind() {
        logplex::Kind::Router => Kind::Router,
        logplex::Kind::DynoError => Kind::DynoError,
        logplex::Kind::DynoState => match record {
            Record::DynoState { to: b"crashed", .. } => Kind::DynoCrash,
            _ => Kind::DynoState,
        },
        logplex::Kind::DynoExit => Kind::DynoExit,
        logplex::Kind::DynoEvent => Kind::DynoEvent,
        logplex::Kind::RuntimeMetrics => Kind::RuntimeMetrics,
        logplex::Kind::PostgresMetrics => Kind::PostgresMetrics,
        logplex::Kind::PgbouncerMetrics => Kind::PgbouncerMetrics,
        logplex::Kind::RedisMetrics => Kind::RedisMetrics,
        logplex::Kind::CustomMetrics => Kind::CustomMetrics,
        logplex::Kind::Release => Kind::Release,
        logplex::Kind::Config => Kind::ConfigChange,
        logplex::Kind::Scale => Kind::Scale,
        logplex::Kind::Build => Kind::Build,
        logplex::Kind::Api => Kind::Api,
        logplex::Kind::LogLoss => Kind::LogLoss,
        logplex::Kind::PostgresLog => match record {
            Record::PostgresLog(line) if line.level.is_some_and(PostgresLevel::is_failure) => Kind::PostgresError,
            _ => Kind::PostgresLog,
        },
        logplex::Kind::WorkerTimeout => Kind::WorkerTimeout,
        logplex::Kind::WorkerKilled => Kind::WorkerKilled,
        logplex::Kind::OutOfMemory => Kind::OutOfMemory,
        logplex::Kind::App | logplex::Kind::RequestTimeout => Kind::App,
        logplex::Kind::HerokuOther => Kind::HerokuOther,
    }
}

/// The part of a release that an API line tells. Lines that make no release tell none.
pub(crate) fn release(record: &Record<'_>, at: Timestamp) -> Option<Release> {
    let Record::Api(line) = record else { return None };
    let text = |bytes: &[u8]| clean(bytes, 200);
    let (kind, version, what) = match line.event {
        ApiEvent::Release { version } => (ReleaseKind::Unknown, u32::try_from(version).ok(), None),
        ApiEvent::Deploy { commit } => (ReleaseKind::Code, None, Some(format!("Deploy {}", text(commit)))),
        ApiEvent::Rollback { version } => (ReleaseKind::Rollback, None, Some(format!("Rollback to v{version}"))),
        ApiEvent::InitialRelease => (ReleaseKind::Code, None, Some("Initial release".to_owned())),
        ApiEvent::ConfigSet { names } => (ReleaseKind::Config, None, Some(format!("Set {} config vars", text(names)))),
        ApiEvent::ConfigRemoved { names } => {
            (ReleaseKind::Config, None, Some(format!("Remove {} config vars", text(names))))
        }
        ApiEvent::Attach { name, .. } => (ReleaseKind::AddOn, None, Some(format!("Attach {}", text(name)))),
        ApiEvent::Detach { name, .. } => (ReleaseKind::AddOn, None, Some(format!("Detach {}", text(name)))),
        ApiEvent::AddonUpdated { name } => (ReleaseKind::AddOn, None, Some(format!("Update {}", text(name)))),
        _ => return None,
    };
    Some(Release { at, version, kind, actor: line.actor.map(|actor| clean(actor, 120)), what, from_api: None })
}

/// The time in which the log router lost lines, as its own message says (contract C38).
pub(crate) fn log_loss(record: &Record<'_>, at: Timestamp) -> Option<Blind> {
    let Record::Loss(loss) = record else { return None };
    if !loss.lost_lines() {
        return None;
    }
    // "since" comes from the line: a loss that claims to be older than a day is taken as a day.
    let from = loss.since_us.map_or(at, Timestamp::from_micros).min(at).max(at - Duration::from_secs(86_400));
    Some(Blind { reason: BlindReason::LogLoss, from, until: at, lines_lost: loss.dropped })
}

/// Text from a line, for people: bounded, without control characters.
pub(crate) fn clean(bytes: &[u8], chars_max: usize) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Told {
        kind: Kind,
        code: Option<String>,
        release: Option<Release>,
        loss: Option<Blind>,
    }

    fn read(line: &str) -> Told {
        let mut cache = logplex::StampCache::default();
        let message = logplex::message(line.as_bytes(), &mut cache).unwrap();
        let record = logplex::record(&message);
        let at = Timestamp::from_micros(message.at_us);
        let signal = signal(&message, &record, at, true);
        Told {
            kind: signal.kind,
            code: signal.code.map(|code| code.to_string()),
            release: release(&record, at),
            loss: log_loss(&record, at),
        }
    }

    #[test]
    fn kinds_and_codes() {
        let cases = [
            (
                "2026-05-07T08:06:12Z heroku[router]: at=error code=H12 desc=\"Request timeout\"",
                Kind::Router,
                Some("H12"),
            ),
            ("2026-05-07T08:06:12Z heroku[web.1]: Error R14 (Memory quota exceeded)", Kind::DynoError, Some("R14")),
            ("2026-05-07T08:06:12Z heroku[web.1]: State changed from up to crashed", Kind::DynoCrash, None),
            ("2026-05-07T08:06:12Z heroku[web.1]: State changed from starting to up", Kind::DynoState, None),
            ("2026-05-07T08:06:12Z app[web.1]: at=error code=H12 desc=\"Request timeout\"", Kind::App, None),
            (
                "2026-05-07T08:06:12Z app[web.1]: [2026-05-07 08:06:12 +0000] [4] [CRITICAL] WORKER TIMEOUT (pid:17)",
                Kind::WorkerTimeout,
                None,
            ),
        ];
        for (line, kind, code) in cases {
            let told = read(line);
            assert_eq!((told.kind, told.code.as_deref()), (kind, code), "{line}");
        }
    }

    #[test]
    fn releases_and_losses() {
        let release = |line| read(line).release.map(|r| r.show());
        assert_eq!(
            release("2026-05-07T08:06:12Z app[api]: Deploy 0a1b2c3d by user dev@example.com").as_deref(),
            Some("a release (code, Deploy 0a1b2c3d, by dev@example.com)")
        );
        assert_eq!(release("2026-05-07T08:06:12Z app[api]: Build succeeded"), None);
        let loss = read("2026-05-07T08:06:12Z heroku[logplex]: Error L10 (output buffer overflow): 7 messages dropped since 2026-05-07T08:06:00+00:00.").loss;
        assert_eq!(loss.unwrap().show(), "blind 08:06:00-08:06:12 UTC (log_loss, 7 lines lost)");
    }

    /// C38: counts are lower bounds where lines were lost, and only there.
    #[test]
    fn which_notes_tell_of_lost_lines() {
        let cases = [
            ("L11 (Tail buffer overflow) -> This tail session dropped 12 messages since 2026-05-07T08:06:00Z.", true),
            ("Error L12: 3 messages dropped since 2026-05-07T08:06:00Z.", true),
            ("Error L13: 4 messages lost since 2026-05-07T08:06:00Z.", true),
            (
                "Error L14 (certificate validation): error=\"bad certificate\" uri=\"syslog+tls://a.example:6514/\"",
                false,
            ),
            ("L15: Error displaying log lines. Please try again.", false),
            ("Error L20 (Tail sessions forbidden) -> x", false),
        ];
        for (text, lost) in cases {
            let told = read(&format!("2026-05-07T08:06:12Z heroku[logplex]: {text}"));
            assert_eq!((told.kind, told.loss.is_some()), (Kind::LogLoss, lost), "{text}");
        }
    }
}
