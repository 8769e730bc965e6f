//! A log in pieces of whole entries, whatever its size: plain or gzip, in one of the three formats. Memory is bounded by a
//! chunk and the longest entry; what is longer is counted and passed over. Where the bytes come from is the caller's.

use std::io::{self, Read};

use dynowatch_logplex::{FRAME_BYTES_MAX, Format, Frame, Malformed, complete_prefix, detect, entries};
use flate2::read::MultiGzDecoder;

use super::colours::uncoloured;

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// How much is looked at to tell the format.
const DETECT_BYTES: usize = 8 << 10;
/// An octet count and the blanks and line breaks around it; no entry needs more than this besides its frame.
const SLACK_BYTES: usize = 64;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What comes next in the file.
pub enum Piece<'a> {
    /// Whole entries.
    Entries(&'a [u8]),
    /// Something that was passed over.
    LeftOut(Malformed),
}

/// What of an entry that is too long is still to be passed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    Bytes(usize),
    Line,
}

/// A file being read.
pub struct Input {
    from: Box<dyn Read>,
    /// Bytes that may still be read.
    room: u64,
    is_cut: bool,
    format: Format,
    buffer: Vec<u8>,
    /// The piece that was handed out last, where its colours had to go.
    plain: Vec<u8>,
    /// Bytes at the start of the buffer that were handed out.
    taken: usize,
    /// Place of the buffer's first byte in the (unpacked) file.
    at: u64,
    skip: Skip,
    ended: bool,
    unreadable_from: Option<u64>,
}

impl Input {
    /// Begins to read, and tells the format from the beginning. Not more than `bytes_max` are read, unpacked: what is packed
    /// may be a thousand times as long.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(mut raw: Box<dyn Read>, bytes_max: u64) -> io::Result<Self> {
        let mut magic = Vec::new();
        raw.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut magic)?;
        let packed = magic == GZIP_MAGIC;
        let whole = io::Cursor::new(magic).chain(raw);
        let mut from: Box<dyn Read> = if packed {
            Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, whole)))
        } else {
            Box::new(whole)
        };
        let mut buffer = Vec::with_capacity(CHUNK_BYTES + SLACK_BYTES);
        let first = from.by_ref().take(bytes_max.min(DETECT_BYTES as u64)).read_to_end(&mut buffer)?;
        let mut plain = Vec::new();
        let format = detect(if uncoloured(&buffer, &mut plain) { &plain } else { &buffer });
        let taken = if buffer.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Ok(Self {
            from,
            room: bytes_max - first as u64,
            is_cut: false,
            format,
            buffer,
            plain,
            taken,
            at: 0,
            skip: Skip::Nothing,
            ended: false,
            unreadable_from: None,
        })
    }

    /// How the file holds its lines.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where a broken octet count made the rest unreadable, if one did.
    #[must_use]
    pub fn unreadable_from(&self) -> Option<u64> {
        self.unreadable_from
    }

    /// Whether there was more than may be read. Known at the end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The next whole entries; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read on, or is no whole gzip file.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece<'_>>> {
        loop {
            self.drop_taken();
            if self.ended || self.unreadable_from.is_some() {
                if self.buffer.is_empty() || self.unreadable_from.is_some() {
                    return Ok(None);
                }
                self.taken = self.buffer.len();
                return Ok(Some(Piece::Entries(self.piece())));
            }
            self.fill()?;
            if self.skip != Skip::Nothing {
                self.skip_on();
                continue;
            }
            let whole = complete_prefix(self.format, &self.buffer);
            if whole > 0 {
                self.taken = whole;
                self.note_broken_count(whole);
                return Ok(Some(Piece::Entries(self.piece())));
            }
            if self.buffer.len() > FRAME_BYTES_MAX + SLACK_BYTES {
                self.skip = self.too_long();
                return Ok(Some(Piece::LeftOut(Malformed::Oversized)));
            }
        }
    }

    /// What is handed out: the bytes that were taken, without colours.
    fn piece(&mut self) -> &[u8] {
        let taken = self.buffer.get(..self.taken).unwrap_or_default();
        let is_painted = self.format == Format::HerokuLogs && uncoloured(taken, &mut self.plain);
        if is_painted { &self.plain } else { taken }
    }

    fn drop_taken(&mut self) {
        self.buffer.drain(..self.taken);
        self.at += self.taken as u64;
        self.taken = 0;
    }

    fn fill(&mut self) -> io::Result<()> {
        let read = self.from.by_ref().take(self.room.min(CHUNK_BYTES as u64)).read_to_end(&mut self.buffer)?;
        self.room -= read as u64;
        self.ended = read == 0;
        if self.ended && self.room == 0 {
            self.is_cut = self.from.by_ref().take(1).read_to_end(&mut Vec::new())? > 0;
        }
        Ok(())
    }

    /// After a count that is none, nothing can be told from what an app printed: reading stops there.
    fn note_broken_count(&mut self, whole: usize) {
        if self.format != Format::Logplex || whole != self.buffer.len() {
            return;
        }
        let mut at = 0;
        for frame in entries(self.format, &self.buffer) {
            match frame {
                Frame::Message(message) => at = end_of(&self.buffer, message),
                Frame::Bad(Malformed::BadCount) => self.unreadable_from = Some(self.at + at as u64),
                Frame::Bad(_) => {}
            }
        }
    }

    /// What to pass over of the entry at the start of the buffer, which is too long.
    fn too_long(&self) -> Skip {
        if self.format != Format::Logplex {
            return Skip::Line;
        }
        let breaks = self.buffer.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let digits = self.buffer.iter().skip(breaks).take_while(|b| b.is_ascii_digit());
        let (length, count) = digits.fold((0, 0_usize), |(length, count), b| {
            (length + 1, count.saturating_mul(10).saturating_add(usize::from(b - b'0')))
        });
        Skip::Bytes(breaks + length + 1 + count)
    }

    fn skip_on(&mut self) {
        let newline = || self.buffer.iter().position(|&b| b == b'\n').map(|i| i + 1);
        (self.taken, self.skip) = match self.skip {
            Skip::Nothing => (0, Skip::Nothing),
            Skip::Bytes(left) if left <= self.buffer.len() => (left, Skip::Nothing),
            Skip::Bytes(left) => (self.buffer.len(), Skip::Bytes(left - self.buffer.len())),
            Skip::Line => newline().map_or((self.buffer.len(), Skip::Line), |end| (end, Skip::Nothing)),
        };
    }
}

/// Where a part of `whole` ends in it.
fn end_of(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize) + part.len()
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
