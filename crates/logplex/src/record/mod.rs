//! What a message is. Source (APPNAME) and process (PROCID) choose the grammar, since Heroku writes them and no app can;
//! the text is read by that grammar alone. Where a grammar does not fit, the line is an ordinary one of its source.
//!
//! | source / process | may be |
//! |---|---|
//! | `heroku` / `router` | [`Record::Router`]; the only place of H codes |
//! | `heroku` / a dyno | lifecycle, `Error Rnn`, runtime metrics |
//! | `heroku` / `logplex`, any / `log-shuttle` | [`Record::Loss`]; the only places of L codes |
//! | any / `api` | [`Record::Api`] |
//! | `app` / `heroku-postgres`, `heroku-pgbouncer`, `heroku-redis`, … | [`Record::Samples`] |
//! | `app` / `postgres.N` | [`Record::PostgresLog`] |
//! | `app` / `run.N` | an app line, or R13 (attach error) in its exact wording, which Heroku reports there |
//! | `app` / anything else | [`Record::App`], or [`Record::Samples`] as custom metrics |

pub mod api;
pub mod app;
pub mod code;
pub mod dyno;
pub mod kind;
pub mod loss;
pub mod postgres;
pub mod router;
pub mod samples;

use crate::message::Message;
use api::{ApiEvent, ApiLine};
use app::{AppLine, Symptom};
use code::{Code, Letter};
use dyno::DynoEvent;
use kind::Kind;
use loss::LogLoss;
use postgres::PostgresLine;
use router::RouterLine;
use samples::{Feed, Samples};

/// What a message is, with the values of its grammar. Everything borrows from the message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record<'a> {
    /// A request, or a router error.
    Router(RouterLine<'a>),
    /// `Error Rnn (title) -> detail`.
    DynoError {
        /// An R code.
        code: Code,
        /// What stands in parentheses.
        title: &'a [u8],
        /// What follows ` -> `; mostly empty.
        detail: &'a [u8],
    },
    /// `State changed from X to Y`.
    DynoState {
        /// `starting`, `up`, `down`, `crashed`, `idle`, …
        from: &'a [u8],
        /// The same words.
        to: &'a [u8],
    },
    /// `Process exited with status N`.
    DynoExit {
        /// Absent in very old lines. 137 is SIGKILL, 143 SIGTERM.
        status: Option<i32>,
    },
    /// Any other known step of a dyno's life.
    DynoOther(DynoEvent<'a>),
    /// Metric values.
    Samples(Samples<'a>),
    /// What somebody did through the Heroku API.
    Api(ApiLine<'a>),
    /// Lines were lost or refused on the way.
    Loss(LogLoss),
    /// A Postgres server's own log.
    PostgresLog(PostgresLine<'a>),
    /// Output of an app or of an add-on.
    App(AppLine<'a>),
    /// A line of the platform that fits no grammar known here.
    Other,
}

impl Record<'_> {
    /// The record's kind.
    #[inline]
    pub fn kind(&self) -> Kind {
        match self {
            Record::Router(_) => Kind::Router,
            Record::DynoError { .. } => Kind::DynoError,
            Record::DynoState { .. } => Kind::DynoState,
            Record::DynoExit { .. } => Kind::DynoExit,
            Record::DynoOther(_) => Kind::DynoEvent,
            Record::Samples(samples) => match samples.feed() {
                Feed::Runtime => Kind::RuntimeMetrics,
                Feed::Postgres => Kind::PostgresMetrics,
                Feed::Pgbouncer => Kind::PgbouncerMetrics,
                Feed::Redis => Kind::RedisMetrics,
                Feed::Custom => Kind::CustomMetrics,
            },
            Record::Api(line) => match line.event {
                ApiEvent::Release { .. }
                | ApiEvent::Deploy { .. }
                | ApiEvent::Rollback { .. }
                | ApiEvent::InitialRelease => Kind::Release,
                ApiEvent::ConfigSet { .. } | ApiEvent::ConfigRemoved { .. } => Kind::Config,
                ApiEvent::Scaled { .. } => Kind::Scale,
                ApiEvent::BuildStarted | ApiEvent::BuildSucceeded | ApiEvent::BuildFailed { .. } => Kind::Build,
                _ => Kind::Api,
            },
            Record::Loss(_) => Kind::LogLoss,
            Record::PostgresLog(_) => Kind::PostgresLog,
            Record::App(line) => match line.symptom {
                None => Kind::App,
                Some(Symptom::WorkerTimeout { .. }) => Kind::WorkerTimeout,
                Some(Symptom::WorkerKilled { .. }) => Kind::WorkerKilled,
                Some(Symptom::OutOfMemory) => Kind::OutOfMemory,
                Some(Symptom::RequestTimeout) => Kind::RequestTimeout,
            },
            Record::Other => Kind::HerokuOther,
        }
    }

    /// The platform's error code, wherever this kind of line carries one.
    #[inline]
    pub fn code(&self) -> Option<Code> {
        match self {
            Record::Router(line) => line.code(),
            Record::DynoError { code, .. } => Some(*code),
            Record::Loss(loss) => Some(loss.code),
            _ => None,
        }
    }
}

/// Reads a message's text by the grammar of its source and process.
#[inline]
pub fn record<'a>(m: &Message<'a>) -> Record<'a> {
    match m.app_name {
        b"heroku" if m.proc_id == b"router" => Record::Router(RouterLine::parse(m.text)),
        b"heroku" => platform(m),
        b"app" => application(m),
        // A third source is unknown to Heroku's documentation. Nothing of the platform is believed from it.
        _ => Record::App(AppLine::parse(m.text)),
    }
}

#[inline]
fn platform<'a>(m: &Message<'a>) -> Record<'a> {
    match m.proc_id {
        b"logplex" | b"log-shuttle" => LogLoss::parse(m.text).map_or(Record::Other, Record::Loss),
        b"api" => Record::Api(ApiLine::parse(m.text)),
        _ if m.text.starts_with(b"source=") => Record::Samples(Samples::parse(Feed::Runtime, m.text)),
        _ => dyno::parse(m.text).unwrap_or(Record::Other),
    }
}

#[inline]
fn application<'a>(m: &Message<'a>) -> Record<'a> {
    let samples = |feed| {
        if samples::begins(m.text) {
            Record::Samples(Samples::parse(feed, m.text))
        } else {
            Record::App(AppLine { text: m.text, symptom: None })
        }
    };
    match m.proc_id {
        b"heroku-postgres" => samples(Feed::Postgres),
        b"heroku-redis" => samples(Feed::Redis),
        b"heroku-pgbouncer" => samples(Feed::Pgbouncer),
        b"api" => Record::Api(ApiLine::parse(m.text)),
        b"log-shuttle" => LogLoss::parse(m.text).map_or(Record::Other, Record::Loss),
        [b'p', b'o', b's', b't', b'g', b'r', b'e', b's', b'.', b'0'..=b'9', ..] => PostgresLine::parse(m.text)
            .map_or(Record::App(AppLine { text: m.text, symptom: None }), Record::PostgresLog),
        [b'r', b'u', b'n', b'.', ..] if m.text.starts_with(b"Error R13 (Attach error)") => {
            dyno::error(m.text).unwrap_or(Record::App(AppLine::parse(m.text)))
        }
        _ if samples::begins(m.text) => Record::Samples(Samples::parse(Feed::Custom, m.text)),
        _ => Record::App(AppLine::parse(m.text)),
    }
}

/// `Error Xnn (title)` at the start of `text`, its code being of this letter: code, title, and what follows.
fn error_text(text: &[u8], letter: Letter) -> Option<(Code, &[u8], &[u8])> {
    let rest = text.strip_prefix(b"Error ")?;
    let (code, rest) = rest.split_at_checked(memchr::memchr(b' ', rest.get(..6)?)?)?;
    let code = Code::parse(code).filter(|code| code.letter() == letter)?;
    let rest = rest.strip_prefix(b" (")?;
    let close = memchr::memchr(b')', rest)?;
    Some((code, &rest[..close], &rest[close + 1..]))
}
