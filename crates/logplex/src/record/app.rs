//! Symptoms in an app's own output that the platform has no code for, in the exact shape their runtimes print.
//!
//! The shape is the point: `[date time zone] [pid] [CRITICAL] WORKER TIMEOUT (pid:17)` is gunicorn's arbiter speaking, while a
//! line that merely contains the words may be a log about alerts, or a dashboard, or this program.

use crate::bytes::leading_number;

/// Output of an app or add-on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppLine<'a> {
    /// The text of the message.
    pub text: &'a [u8],
    /// What the text reports, when it has the exact shape of a known report.
    pub symptom: Option<Symptom>,
}

/// A report of a well-known runtime about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symptom {
    /// Gunicorn stopped a worker that was silent for longer than its time limit.
    WorkerTimeout {
        /// The worker's process id.
        pid: u64,
    },
    /// Gunicorn found a worker killed by SIGKILL, most often for want of memory.
    WorkerKilled {
        /// The worker's process id.
        pid: u64,
    },
    /// Node's heap limit was reached.
    OutOfMemory,
    /// Rack::Timeout gave a request up.
    RequestTimeout,
}

impl<'a> AppLine<'a> {
    /// Looks for a symptom; costs one comparison of a byte for most lines.
    #[inline(always)]
    pub fn parse(text: &'a [u8]) -> AppLine<'a> {
        let symptom = match text.first() {
            Some(b'[') => gunicorn(text),
            Some(b'F') => node_heap(text),
            Some(b'R') => text.starts_with(b"Rack::Timeout::RequestTimeoutE").then_some(Symptom::RequestTimeout),
            _ => None,
        };
        AppLine { text, symptom }
    }

    /// Whether gunicorn reports a worker's time-out.
    pub fn worker_timeout(&self) -> bool {
        matches!(self.symptom, Some(Symptom::WorkerTimeout { .. }))
    }
}

/// `[2025-03-04 10:00:00 +0000] [2] [LEVEL] report`.
fn gunicorn(text: &[u8]) -> Option<Symptom> {
    const OUTLINE: &[u8; 30] = b"[dddd-dd-dd dd:dd:dd sdddd] [d";
    let head = text.first_chunk::<30>()?;
    let fits = head.iter().zip(OUTLINE).all(|(&c, &o)| match o {
        b'd' => c.is_ascii_digit(),
        b's' => matches!(c, b'+' | b'-'),
        _ => c == o,
    });
    if !fits {
        return None;
    }
    let (_, len) = leading_number(&text[29..]);
    let rest = text[29 + len..].strip_prefix(b"] [")?;
    if let Some(rest) = rest.strip_prefix(b"CRITICAL] WORKER TIMEOUT (pid:") {
        return pid(rest).filter(|&(_, rest)| rest == b")").map(|(pid, _)| Symptom::WorkerTimeout { pid });
    }
    let rest = rest.strip_prefix(b"ERROR] ").or(rest.strip_prefix(b"WARNING] "))?;
    if let Some(rest) = rest.strip_prefix(b"Worker (pid:") {
        let (pid, rest) = pid(rest)?;
        return rest.starts_with(b") was sent SIGKILL!").then_some(Symptom::WorkerKilled { pid });
    }
    let (pid, rest) = pid(rest.strip_prefix(b"Worker with pid ")?)?;
    (rest == b" was terminated due to signal 9").then_some(Symptom::WorkerKilled { pid })
}

/// A process id, with or without a blank in front.
fn pid(b: &[u8]) -> Option<(u64, &[u8])> {
    let b = b.strip_prefix(b" ").unwrap_or(b);
    let (n, len) = leading_number(b);
    (len > 0).then(|| (n, &b[len..]))
}

/// `FATAL ERROR: … JavaScript heap out of memory`; the middle names the collector's phase and differs by version.
fn node_heap(text: &[u8]) -> Option<Symptom> {
    (text.starts_with(b"FATAL ERROR: ") && text.ends_with(b"JavaScript heap out of memory"))
        .then_some(Symptom::OutOfMemory)
}
