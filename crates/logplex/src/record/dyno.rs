//! Lifecycle lines of `heroku`/dyno, in today's wording and older ones.

use super::Record;
use super::code::Letter;
use crate::bytes::{leading_number, split_once, trim_end};

/// A step of a dyno's life that is neither a change of state, nor an exit, nor an error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DynoEvent<'a> {
    /// ``Starting process with command `…` `` and who asked, for one-off dynos.
    Starting {
        /// The command between the backticks.
        command: &'a [u8],
        /// Personal data: an e-mail address.
        user: Option<&'a [u8]>,
    },
    /// `Cycling`: the daily restart.
    Cycling,
    /// `Restarting`: a release, a config change, or `ps:restart`.
    Restarting,
    /// `Stopping all processes with SIGTERM` and its kin.
    Stopping {
        /// `SIGTERM` or `SIGKILL`.
        signal: &'a [u8],
    },
    /// `Idling`: an Eco dyno goes to sleep.
    Idling,
    /// `Unidling`: it wakes.
    Unidling,
    /// `Process running mem=600M(117.2%)`, which comes before R14 and R15.
    MemoryRunning {
        /// Memory in use, in MB as Heroku counts them (MiB).
        mb: f64,
        /// Share of the dyno's quota in percent.
        percent: f64,
    },
    /// `Awaiting client`: a one-off dyno waits for its terminal.
    AwaitingClient,
    /// `Client connection closed. Sending SIGHUP to all processes`.
    ClientClosed,
}

/// A dyno manager's line; `None` when no grammar fits.
pub(super) fn parse(text: &[u8]) -> Option<Record<'_>> {
    let text = trim_end(text);
    match text.first()? {
        b'E' => error(text),
        b'S' => {
            if let Some(rest) = text.strip_prefix(b"State changed from ") {
                let (from, to) = split_once(rest, b" to ")?;
                (!from.is_empty() && !to.is_empty()).then_some(Record::DynoState { from, to })
            } else if let Some(rest) = text.strip_prefix(b"Stopping ") {
                let (_, signal) = split_once(rest, b" with ")?;
                Some(Record::DynoOther(DynoEvent::Stopping { signal }))
            } else {
                let (command, user) = starting(text)?;
                Some(Record::DynoOther(DynoEvent::Starting { command, user }))
            }
        }
        b'P' => {
            if let Some(rest) = text.strip_prefix(b"Process exited") {
                Some(Record::DynoExit { status: exit_status(rest)? })
            } else {
                memory(text).map(Record::DynoOther)
            }
        }
        _ => match text {
            b"Cycling" => Some(DynoEvent::Cycling),
            b"Restarting" => Some(DynoEvent::Restarting),
            b"Idling" => Some(DynoEvent::Idling),
            b"Unidling" => Some(DynoEvent::Unidling),
            b"Awaiting client" => Some(DynoEvent::AwaitingClient),
            _ if text.starts_with(b"Client connection closed") => Some(DynoEvent::ClientClosed),
            _ => None,
        }
        .map(Record::DynoOther),
    }
}

/// `Error Rnn (title)[ -> detail]`.
pub(super) fn error(text: &[u8]) -> Option<Record<'_>> {
    let (code, title, rest) = super::error_text(text, Letter::R)?;
    let detail = match rest.strip_prefix(b" -> ") {
        Some(detail) => detail,
        None if trim_end(rest).is_empty() => &[],
        None => return None,
    };
    Some(Record::DynoError { code, title, detail })
}

/// ``Starting process with command[:] `…`[ by user X]``: command and user. A command may itself hold backticks, so its
/// end is the last one.
pub(super) fn starting(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let rest = text.strip_prefix(b"Starting process with command")?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest).strip_prefix(b" `")?;
    let close = memchr::memrchr(b'`', rest)?;
    let (command, rest) = (&rest[..close], &rest[close + 1..]);
    let user = rest.strip_prefix(b" by user ").or(rest.strip_prefix(b" by "));
    Some((command, user))
}

/// What follows `Process exited`: nothing in very old lines, else a status.
fn exit_status(rest: &[u8]) -> Option<Option<i32>> {
    if rest.is_empty() {
        return Some(None);
    }
    let digits = rest.strip_prefix(b" with status ")?;
    let (negative, digits) = match digits.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    let (n, len) = leading_number(digits);
    if len == 0 || len != digits.len() {
        return None;
    }
    let n = i32::try_from(n).ok()?;
    Some(Some(if negative { -n } else { n }))
}

/// `Process running mem=600M(117.2%)`; older lines write `MB`.
fn memory(text: &[u8]) -> Option<DynoEvent<'_>> {
    let rest = text.strip_prefix(b"Process running mem=")?;
    let (mb, rest) = split_once(rest, b"M")?;
    let rest = rest.strip_prefix(b"B").unwrap_or(rest);
    let percent = rest.strip_prefix(b"(")?.strip_suffix(b"%)")?;
    let value = |b| super::samples::decimal(b).filter(|&(_, len)| len == b.len()).map(|(v, _)| v);
    Some(DynoEvent::MemoryRunning { mb: value(mb)?, percent: value(percent)? })
}
