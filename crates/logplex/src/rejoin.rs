//! Putting lines together again that Heroku cut at 10,000 bytes.
//!
//! Heroku cuts a dyno's line into pieces of exactly [`PIECE_BYTES`] without a newline, each a message of its own with the same
//! stamp; the last piece is shorter or ends in a newline. Nothing marks them, so pieces are told by that length, and put
//! together by (source, process, stamp). Bytes are joined, so that a character torn by the cut is whole again.
//!
//! Memory is bounded by `max_open` lines of `max_bytes` each. A line that grows beyond `max_bytes` is cut there and marked;
//! its further pieces are swallowed. When `max_open` lines are open and another begins, the one opened first is given out
//! unfinished. A whole line, which is nearly every one, passes without being copied.
//!
//! One rejoiner serves one drain: processes of two apps have the same names.

use crate::message::Message;

/// The length at which Heroku cuts.
pub const PIECE_BYTES: usize = 10_000;

/// What [`Rejoiner::push`] gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed<'a> {
    /// An older line that will get no more pieces and did not get its last.
    pub given_up: Option<Joined<'a>>,
    /// What became of the message.
    pub now: Now<'a>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now<'a> {
    /// It is a whole line; use it as it is.
    Whole,
    /// It is a piece and was kept.
    Kept,
    /// It ended a line of several pieces.
    Ended(Joined<'a>),
}

/// A line of several pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined<'a> {
    /// The pieces' common stamp: microseconds since 1970, UTC.
    pub at_us: i64,
    /// APPNAME.
    pub app_name: &'a [u8],
    /// PROCID.
    pub proc_id: &'a [u8],
    /// The joined text.
    pub text: &'a [u8],
    /// How many pieces it came in.
    pub pieces: u32,
    /// Whether bytes beyond the bound were left out.
    pub cut: bool,
    /// Whether its last piece was seen.
    pub ended: bool,
}

/// A line that waits for its next piece.
#[derive(Debug, Default)]
struct Open {
    at_us: i64,
    app_name: Vec<u8>,
    proc_id: Vec<u8>,
    text: Vec<u8>,
    pieces: u32,
    cut: bool,
    ended: bool,
}

/// Joins the pieces of long lines. See the [module](self).
#[derive(Debug)]
pub struct Rejoiner {
    max_bytes: usize,
    max_open: usize,
    /// In the order in which they were opened.
    open: Vec<Open>,
    /// Lines that were just given out, kept until the next call so that their text can be borrowed.
    given_up: Option<Open>,
    ended: Option<Open>,
}

impl Rejoiner {
    /// A rejoiner that holds at most `max_open` lines of at most `max_bytes` each. Both are taken as at least 1.
    pub fn new(max_bytes: usize, max_open: usize) -> Rejoiner {
        Rejoiner {
            max_bytes: max_bytes.max(1),
            max_open: max_open.max(1),
            open: Vec::new(),
            given_up: None,
            ended: None,
        }
    }

    /// How many lines wait for a piece.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Takes the next message, in the order of arrival.
    #[inline]
    pub fn push(&mut self, m: &Message<'_>) -> Pushed<'_> {
        let is_piece = m.text.len() == PIECE_BYTES && !m.newline;
        if self.open.is_empty() && !is_piece {
            return Pushed { given_up: None, now: Now::Whole };
        }
        self.push_slow(m, is_piece)
    }

    fn push_slow(&mut self, m: &Message<'_>, is_piece: bool) -> Pushed<'_> {
        (self.given_up, self.ended) = (None, None);
        let of_process = |open: &Open| open.proc_id == m.proc_id && open.app_name == m.app_name;
        if let Some(i) = self.open.iter().position(of_process) {
            if self.open[i].at_us == m.at_us {
                self.open[i].append(m.text, self.max_bytes);
                if is_piece {
                    return self.pushed(Now::Kept);
                }
                let mut line = self.open.remove(i);
                line.ended = true;
                self.ended = Some(line);
                return self.pushed(Now::Kept);
            }
            // A new stamp of the same process: the old line's end was lost.
            self.given_up = Some(self.open.remove(i));
        }
        if !is_piece {
            return self.pushed(Now::Whole);
        }
        if self.open.len() == self.max_open {
            self.given_up = Some(self.open.remove(0));
        }
        let mut line =
            Open { at_us: m.at_us, app_name: m.app_name.to_vec(), proc_id: m.proc_id.to_vec(), ..Open::default() };
        line.append(m.text, self.max_bytes);
        self.open.push(line);
        self.pushed(Now::Kept)
    }

    fn pushed(&self, now: Now<'static>) -> Pushed<'_> {
        Pushed {
            given_up: self.given_up.as_ref().map(Open::joined),
            now: self.ended.as_ref().map_or(now, |line| Now::Ended(line.joined())),
        }
    }

    /// Gives out the oldest unfinished line opened for a stamp at or before `until_us`; call it until it gives none. With
    /// `i64::MAX` it empties the rejoiner.
    pub fn give_up(&mut self, until_us: i64) -> Option<Joined<'_>> {
        let i = self.open.iter().position(|line| line.at_us <= until_us)?;
        self.given_up = Some(self.open.remove(i));
        self.given_up.as_ref().map(Open::joined)
    }
}

impl Open {
    fn append(&mut self, piece: &[u8], max_bytes: usize) {
        let room = max_bytes.saturating_sub(self.text.len());
        self.cut |= piece.len() > room;
        self.text.extend_from_slice(&piece[..piece.len().min(room)]);
        self.pieces = self.pieces.saturating_add(1);
    }

    fn joined(&self) -> Joined<'_> {
        Joined {
            at_us: self.at_us,
            app_name: &self.app_name,
            proc_id: &self.proc_id,
            text: &self.text,
            pieces: self.pieces,
            cut: self.cut,
            ended: self.ended,
        }
    }
}
