//! The newest lines of one app, as they came, so that an alert can show what happened around it. Owns the bound: two
//! halves of [`HALF_BYTES`], the older of which is dropped whole. Losing it at a restart loses context, never evidence.

use dynowatch_domain::Timestamp;
use dynowatch_domain::evidence::{EVIDENCE_LINES_MAX, EvidenceLine, Role};
use dynowatch_logplex::{Frame, Message, Record, StampCache, frames, message, record};
use memchr::memmem;

use crate::adapter;

/// The size of each half. At about 300 bytes a line both hold some 200 lines of an app.
pub(crate) const HALF_BYTES: usize = 32 * 1024;

/// Raw, octet-counted frames, newest last.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Ring {
    /// Keeps a body whose frames are all sound, or as much of its end as fits.
    pub(crate) fn push_body(&mut self, body: &[u8]) {
        if body.len() <= HALF_BYTES {
            self.make_room(body.len());
            self.new.extend_from_slice(body);
            return;
        }
        // Frame boundaries are only known from the front.
        let mut at = 0;
        for frame in frames(body) {
            if let Frame::Message(raw) = frame {
                at = offset(body, raw) + raw.len();
                if body.len() - at <= HALF_BYTES {
                    break;
                }
            }
        }
        let tail = body.get(at..).unwrap_or(&[]);
        self.make_room(tail.len());
        self.new.extend_from_slice(tail);
    }

    /// Keeps one message, framing it anew.
    pub(crate) fn push_message(&mut self, raw: &[u8]) {
        if raw.len() + 16 <= HALF_BYTES {
            self.make_room(raw.len() + 16);
            self.new.extend_from_slice(format!("{} ", raw.len()).as_bytes());
            self.new.extend_from_slice(raw);
        }
    }

    fn make_room(&mut self, bytes: usize) {
        if self.new.len() + bytes > HALF_BYTES {
            std::mem::swap(&mut self.old, &mut self.new);
            self.new.clear();
        }
    }

    /// Up to [`EVIDENCE_LINES_MAX`] lines around a match: those that speak of its request first, then its dyno's newest.
    pub(crate) fn context(&self, of: &Wanted<'_>) -> Vec<EvidenceLine> {
        let (mut same_request, mut same_dyno) = (Vec::new(), Vec::new());
        let mut cache = StampCache::default();
        for frame in frames(&self.old).chain(frames(&self.new)) {
            let Frame::Message(raw) = frame else { continue };
            let Ok(message) = message(raw, &mut cache) else { continue };
            let Some(role) = of.role(&message) else { continue };
            let line = EvidenceLine::new(Timestamp::from_micros(message.at_us), adapter::source(&message), message.proc_id, message.text, role);
            if of.matches.iter().any(|m| m.at == line.at && m.text == line.text) {
                continue;
            }
            let kept: &mut Vec<EvidenceLine> = if role == Role::SameRequest { &mut same_request } else { &mut same_dyno };
            if kept.len() == EVIDENCE_LINES_MAX {
                kept.remove(0);
            }
            kept.push(line);
        }
        let room = EVIDENCE_LINES_MAX - same_request.len();
        let skipped = same_dyno.len().saturating_sub(room);
        same_request.extend(same_dyno.drain(skipped..));
        same_request.sort_by_key(|line| line.at);
        same_request
    }
}

/// What a match wants around it.
pub(crate) struct Wanted<'a> {
    /// The request it speaks of; empty when none.
    pub request_id: &'a [u8],
    /// The dyno it concerns; empty when none.
    pub dyno: &'a [u8],
    /// The evidence itself, not to be repeated.
    pub matches: &'a [EvidenceLine],
}

impl Wanted<'_> {
    fn role(&self, message: &Message<'_>) -> Option<Role> {
        if !self.request_id.is_empty() && memmem::find(message.text, self.request_id).is_some() {
            return Some(Role::SameRequest);
        }
        let from_dyno = !self.dyno.is_empty() && message.proc_id == self.dyno;
        // Metric lines come every twenty seconds and tell nothing of a moment.
        (from_dyno && !matches!(record(message), Record::Samples(_))).then_some(Role::SameDyno)
    }
}

fn offset(body: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(process: &str, text: &str) -> Vec<u8> {
        let message = format!("<190>1 2026-05-07T08:06:12.000000+00:00 host app {process} - {text}\n");
        format!("{} {message}", message.len()).into_bytes()
    }

    fn shown(ring: &Ring, request_id: &[u8], dyno: &[u8]) -> Vec<String> {
        ring.context(&Wanted { request_id, dyno, matches: &[] }).iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect()
    }

    #[test]
    fn lines_of_the_request_come_before_lines_of_the_dyno() {
        let mut ring = Ring::default();
        ring.push_body(&frame("web.1", "request_id=abc began"));
        for i in 0..20 {
            ring.push_body(&[frame("web.2", &format!("two {i}")), frame("web.3", "three")].concat());
        }
        let lines = shown(&ring, b"abc", b"web.2");
        assert_eq!(lines.len(), EVIDENCE_LINES_MAX);
        assert_eq!((lines[0].as_str(), lines[9].as_str()), ("request_id=abc began", "two 19"));
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_the_newest() {
        let mut ring = Ring::default();
        let body: Vec<u8> = (0..2_000).flat_map(|i| frame("web.1", &format!("line {i} {}", "x".repeat(100)))).collect();
        ring.push_body(&body);
        for i in 0..2_000 {
            ring.push_body(&frame("web.1", &format!("later {i}")));
            assert!(ring.old.len() <= HALF_BYTES && ring.new.len() <= HALF_BYTES);
        }
        assert!(shown(&ring, b"", b"web.1").last().unwrap().starts_with("later 1999"));
    }
}
