//! The newest lines of one app, as they came, so that an alert can show what happened around it. Owns the bound:
//! [`RING_BYTES_MAX`] per app. Losing it at a restart loses context, never evidence.
//!
//! A large body is kept as it was received, without a copy; since that may hold on to a whole read buffer, it counts as
//! one. Small bodies, of which there are many, are copied together.

use std::collections::VecDeque;

use bytes::Bytes;
use dynowatch_domain::Timestamp;
use dynowatch_domain::evidence::{EVIDENCE_LINES_MAX, EvidenceLine, Role};
use dynowatch_logplex::{Frame, Message, Record, StampCache, frames, message, record};
use memchr::memmem;

use crate::adapter;

/// Memory that one app's newest lines may hold on to. At about 300 bytes a line, some 200 to 400 lines.
pub(crate) const RING_BYTES_MAX: usize = 128 * 1024;
/// Bodies of at least this size are kept as they were received.
const SHARED_BYTES_MIN: usize = 16 * 1024;
/// What such a body holds on to, at most: the read buffer it lies in.
const SHARED_WEIGHT: usize = 64 * 1024;
/// Small bodies are copied into pieces of this size; of a body that is too large, this much of its end is kept.
const PIECE_BYTES: usize = 16 * 1024;

/// Raw, octet-counted frames, newest last.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    pieces: VecDeque<Piece>,
    weight: usize,
    newest: Vec<u8>,
}

#[derive(Debug)]
enum Piece {
    /// Small bodies, in room of our own.
    Copied(Vec<u8>),
    /// A body as it was received.
    Received(Bytes),
}

impl Piece {
    fn frames(&self) -> &[u8] {
        match self {
            Self::Copied(frames) => frames,
            Self::Received(body) => body,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Copied(frames) => frames.capacity(),
            Self::Received(body) => body.len().max(SHARED_WEIGHT),
        }
    }
}

impl Ring {
    /// Keeps a body whose frames are all sound, or as much of its end as fits.
    pub(crate) fn push_body(&mut self, body: &Bytes) {
        match body.len() {
            0..SHARED_BYTES_MIN => self.push_copy(body),
            SHARED_BYTES_MIN..=SHARED_WEIGHT => {
                self.close_piece();
                self.push_piece(Piece::Received(body.clone()));
            }
            _ => self.push_copy(tail(body)),
        }
    }

    /// Keeps one message, framing it anew.
    pub(crate) fn push_message(&mut self, raw: &[u8]) {
        if raw.len() + 8 < PIECE_BYTES {
            if self.newest.len() + raw.len() + 8 > PIECE_BYTES {
                self.close_piece();
            }
            let length = raw.len().to_string();
            self.reserve(length.len() + 1 + raw.len());
            self.newest.extend_from_slice(length.as_bytes());
            self.newest.push(b' ');
            self.newest.extend_from_slice(raw);
        }
    }

    fn push_copy(&mut self, frames: &[u8]) {
        if self.newest.len() + frames.len() > PIECE_BYTES {
            self.close_piece();
        }
        self.reserve(frames.len());
        self.newest.extend_from_slice(frames);
    }

    /// Doubles, but never beyond a piece: an app with few lines stays small, and none holds more than it may.
    fn reserve(&mut self, more: usize) {
        let needed = self.newest.len() + more;
        if needed > self.newest.capacity() {
            let room = needed.max(2 * self.newest.capacity()).min(PIECE_BYTES).max(needed);
            self.newest.reserve_exact(room - self.newest.len());
        }
    }

    fn close_piece(&mut self) {
        if !self.newest.is_empty() {
            let piece = Piece::Copied(std::mem::take(&mut self.newest));
            self.push_piece(piece);
        }
    }

    /// Adds a piece and drops the oldest; the room of one that was copied takes the next small bodies.
    fn push_piece(&mut self, piece: Piece) {
        self.weight += piece.weight();
        self.pieces.push_back(piece);
        while self.weight > RING_BYTES_MAX - PIECE_BYTES && self.pieces.len() > 1 {
            let Some(oldest) = self.pieces.pop_front() else { break };
            self.weight -= oldest.weight();
            if let Piece::Copied(mut room) = oldest
                && room.capacity() > self.newest.capacity()
            {
                room.clear();
                self.newest = room;
            }
        }
    }

    /// All of it, oldest first, to be read without holding the ring. At most [`RING_BYTES_MAX`] are copied.
    pub(crate) fn pieces(&self) -> Vec<Bytes> {
        let copied = |frames: &[u8]| Bytes::copy_from_slice(frames);
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Copied(frames) => copied(frames),
            Piece::Received(body) => body.clone(),
        });
        pieces.chain([copied(&self.newest)]).collect()
    }

    /// Up to [`EVIDENCE_LINES_MAX`] lines around a match: those that speak of its request first, then its dyno's newest.
    pub(crate) fn context(&self, of: &Wanted<'_>) -> Vec<EvidenceLine> {
        let (mut same_request, mut same_dyno) = (Vec::new(), Vec::new());
        let mut cache = StampCache::default();
        let pieces = self.pieces.iter().map(Piece::frames).chain([&self.newest[..]]);
        for frame in pieces.flat_map(frames) {
            let Frame::Message(raw) = frame else { continue };
            let Ok(message) = message(raw, &mut cache) else { continue };
            let Some(role) = of.role(&message) else { continue };
            let line = EvidenceLine::new(
                Timestamp::from_micros(message.at_us),
                adapter::source(&message),
                message.proc_id,
                message.text,
                role,
            );
            if of.matches.iter().any(|m| m.at == line.at && m.text == line.text) {
                continue;
            }
            let kept: &mut Vec<EvidenceLine> =
                if role == Role::SameRequest { &mut same_request } else { &mut same_dyno };
            // A batch that was refused is here already when it comes again.
            if kept.contains(&line) {
                continue;
            }
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

/// The end of a body, from a frame's beginning. Beginnings are only known from the front.
fn tail(body: &[u8]) -> &[u8] {
    for frame in frames(body) {
        let Frame::Message(raw) = frame else { return &[] };
        let next = offset(body, raw) + raw.len();
        if body.len() - next <= PIECE_BYTES {
            return body.get(next..).unwrap_or(&[]);
        }
    }
    &[]
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
        let lines = ring.context(&Wanted { request_id, dyno, matches: &[] });
        lines.iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect()
    }

    #[test]
    fn lines_of_the_request_come_before_lines_of_the_dyno() {
        let mut ring = Ring::default();
        ring.push_body(&frame("web.1", "request_id=abc began").into());
        for i in 0..20 {
            ring.push_body(&[frame("web.2", &format!("two {i}")), frame("web.3", "three")].concat().into());
        }
        let lines = shown(&ring, b"abc", b"web.2");
        assert_eq!(lines.len(), EVIDENCE_LINES_MAX);
        assert_eq!((lines[0].as_str(), lines[9].as_str()), ("request_id=abc began", "two 19"));
    }

    #[test]
    fn a_batch_that_came_twice_is_shown_once() {
        let mut ring = Ring::default();
        let body: Bytes = (0..15).flat_map(|i| frame("web.1", &format!("line {i}"))).collect::<Vec<u8>>().into();
        ring.push_body(&body);
        ring.push_body(&body);
        let want: Vec<String> = (5..15).map(|i| format!("line {i}")).collect();
        assert_eq!(shown(&ring, b"", b"web.1"), want);
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_the_newest() {
        let body = |lines: usize| -> Bytes {
            (0..lines)
                .flat_map(|i| frame("web.1", &format!("line {i} {}", "x".repeat(100))))
                .collect::<Vec<u8>>()
                .into()
        };
        let mut ring = Ring::default();
        for lines in [1, 10, 150, 300, 3_000, 1, 150].into_iter().cycle().take(200) {
            ring.push_body(&body(lines));
            let kept = ring.pieces.iter().map(Piece::weight).sum::<usize>() + ring.newest.capacity();
            assert!(kept <= RING_BYTES_MAX, "{kept}");
            assert_eq!(
                shown(&ring, b"", b"web.1").last().unwrap().split(' ').nth(1),
                Some((lines - 1).to_string().as_str())
            );
        }
        ring.push_message(b"<190>1 2026-05-07T08:06:12.000000+00:00 host app web.1 - alone");
        assert_eq!(shown(&ring, b"", b"web.1").last().unwrap(), "alone");
    }
}
