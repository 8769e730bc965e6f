//! Metric lines: `source=web.1 dyno=heroku.1.uuid sample#memory_rss=21.22MB …`, for dynos, data services and apps alike.
//!
//! What a value means is said by its suffix alone, never by its name: `connections-percentage-used=0.25` is a ratio without
//! a unit, and stays one.

use crate::bytes::{find_near, find_near2, leading_number, split_once, token};

/// Who the values are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feed {
    /// A dyno, measured by Heroku.
    Runtime,
    /// A Postgres database.
    Postgres,
    /// A connection pooler.
    Pgbouncer,
    /// A Redis or Valkey store.
    Redis,
    /// Printed by an app or another add-on.
    Custom,
}

/// What stands before the `#`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleKind {
    /// `sample#`: a level at this instant.
    Sample,
    /// `measure#`: one observation of a distribution.
    Measure,
    /// `count#`: an increment.
    Count,
    /// `gauge#`: a level.
    Gauge,
    /// `counter#`: an increment.
    Counter,
}

/// The unit of [`Sample::value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// No suffix: a count or a ratio.
    None,
    /// From `bytes`, `B`, `kB`, `MB`, `GB`.
    Bytes,
    /// From `pages`: memory pages moved.
    Pages,
    /// From `ms`.
    Milliseconds,
    /// From `s`.
    Seconds,
    /// From `us`.
    Microseconds,
    /// From `%`, written out.
    Percent,
    /// A suffix not known here; the value is as written.
    Other,
}

const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;

impl Unit {
    /// The unit's name, as stored and shown; empty for [`Unit::None`] and [`Unit::Other`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::None | Unit::Other => "",
            Unit::Bytes => "bytes",
            Unit::Pages => "pages",
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Microseconds => "us",
            Unit::Percent => "%",
        }
    }

    /// The base unit of a suffix, and what a written number is multiplied by to be in it.
    ///
    /// Sizes are powers of two: the quota of a 512 MiB dyno is written `512.00MB`, and the `kB` of Postgres and Redis are
    /// those of `/proc/meminfo`, 1,024 bytes each. Times keep the unit they were written in, since dividing would
    /// make decimals inexact for no one's benefit.
    #[inline]
    pub fn of_suffix(suffix: &[u8]) -> (Unit, f64) {
        match suffix {
            b"" => (Unit::None, 1.0),
            b"MB" | b"MiB" | b"M" => (Unit::Bytes, MIB),
            b"kB" | b"KB" | b"KiB" => (Unit::Bytes, KIB),
            b"bytes" | b"byte" | b"B" => (Unit::Bytes, 1.0),
            b"pages" | b"page" => (Unit::Pages, 1.0),
            b"GB" | b"GiB" => (Unit::Bytes, KIB * MIB),
            b"ms" => (Unit::Milliseconds, 1.0),
            b"s" => (Unit::Seconds, 1.0),
            b"us" => (Unit::Microseconds, 1.0),
            b"%" => (Unit::Percent, 1.0),
            _ => (Unit::Other, 1.0),
        }
    }
}

/// One value of a metric line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// What stands before the `#`.
    pub kind: SampleKind,
    /// The metric's name as written. Heroku's are letters, digits, `_`, `-` and `.`; an app's can be any bytes without a blank.
    pub name: &'a [u8],
    /// The value in [`Sample::unit`]; finite.
    pub value: f64,
    /// The base unit.
    pub unit: Unit,
    /// The number as written, before its suffix was applied.
    pub written: f64,
}

/// A metric line. Iterate it for its values; what does not parse is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samples<'a> {
    text: &'a [u8],
    rest: &'a [u8],
    feed: Feed,
    source: &'a [u8],
    owner: Owner<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner<'a> {
    None,
    Addon(&'a [u8]),
    Dyno(&'a [u8]),
}

const KINDS: [(&[u8], SampleKind); 5] = [
    (b"sample#", SampleKind::Sample),
    (b"measure#", SampleKind::Measure),
    (b"count#", SampleKind::Count),
    (b"gauge#", SampleKind::Gauge),
    (b"counter#", SampleKind::Counter),
];

/// The kind in front of `b`, and what follows it.
#[inline(always)]
fn sample_kind(b: &[u8]) -> Option<(SampleKind, &[u8])> {
    if let Some(rest) = b.strip_prefix(b"sample#") {
        return Some((SampleKind::Sample, rest));
    }
    if !matches!(b.first(), Some(b'm' | b'c' | b'g')) {
        return None;
    }
    KINDS[1..].iter().find_map(|(prefix, kind)| Some((*kind, b.strip_prefix(*prefix)?)))
}

/// Whether a text begins as a metric line: with a value, or with `source=…` and then a value, `addon=` or `dyno=`.
#[inline(always)]
pub(super) fn begins(text: &[u8]) -> bool {
    match text.first() {
        Some(b's' | b'm' | b'c' | b'g') => sample_kind(text).is_some() || begins_with_source(text),
        _ => false,
    }
}

fn begins_with_source(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"source=") else {
        return false;
    };
    let mut rest = token(rest).1;
    if rest.starts_with(b"addon=") || rest.starts_with(b"dyno=") {
        rest = token(rest).1;
    }
    sample_kind(rest).is_some()
}

impl<'a> Samples<'a> {
    /// Reads the leading `source=`, `addon=` and `dyno=` of a metric line; the values come from the iterator.
    #[inline]
    pub fn parse(feed: Feed, text: &'a [u8]) -> Samples<'a> {
        let (mut rest, mut source, mut owner) = (text, &text[..0], Owner::None);
        if let Some(after) = rest.strip_prefix(b"source=") {
            (source, rest) = token(after);
        }
        if let Some(after) = rest.strip_prefix(b"addon=") {
            let (addon, after) = token(after);
            (owner, rest) = (Owner::Addon(addon), after);
        } else if let Some(after) = rest.strip_prefix(b"dyno=") {
            let (dyno, after) = token(after);
            (owner, rest) = (Owner::Dyno(dyno), after);
        }
        Samples { text, rest, feed, source, owner }
    }

    /// Who the values are about.
    pub fn feed(&self) -> Feed {
        self.feed
    }

    /// The series key: `web.1`, `DATABASE`, `REDIS`, …; empty when the line names none.
    pub fn source(&self) -> &'a [u8] {
        if !self.source.is_empty() {
            return self.source;
        }
        // Apps may write it behind their values.
        split_once(self.text, b" source=").map_or(self.source, |(_, rest)| token(rest).0)
    }

    /// The add-on's name (`postgresql-flat-12345`); older lines have none.
    pub fn addon(&self) -> Option<&'a [u8]> {
        match self.owner {
            Owner::Addon(addon) => Some(addon),
            _ => None,
        }
    }

    /// `heroku.<app>.<dyno uuid>`: changes at every restart of the dyno.
    pub fn dyno_id(&self) -> Option<&'a [u8]> {
        match self.owner {
            Owner::Dyno(dyno) => Some(dyno),
            _ => None,
        }
    }
}

impl<'a> Iterator for Samples<'a> {
    type Item = Sample<'a>;

    #[inline]
    fn next(&mut self) -> Option<Sample<'a>> {
        while !self.rest.is_empty() {
            let Some((kind, after)) = sample_kind(self.rest) else {
                self.rest = skip_token(self.rest);
                continue;
            };
            let Some((sample, rest)) = sample(kind, after) else {
                self.rest = skip_token(after);
                continue;
            };
            self.rest = rest;
            return Some(sample);
        }
        None
    }
}

/// `name=number[suffix]` up to the next blank, and what follows the blank.
#[inline(always)]
fn sample(kind: SampleKind, b: &[u8]) -> Option<(Sample<'_>, &[u8])> {
    let eq = find_near2(b, b'=', b' ').filter(|&i| i > 0 && b[i] == b'=')?;
    let (name, rest) = (&b[..eq], &b[eq + 1..]);
    let (written, len) = decimal(rest)?;
    // The suffixes of the most frequent lines first, at fixed lengths.
    let (unit, factor, rest) = match &rest[len..] {
        [b' ', rest @ ..] => (Unit::None, 1.0, rest),
        [b'M', b'B', b' ', rest @ ..] => (Unit::Bytes, MIB, rest),
        [b'k', b'B', b' ', rest @ ..] => (Unit::Bytes, KIB, rest),
        [b'p', b'a', b'g', b'e', b's', b' ', rest @ ..] => (Unit::Pages, 1.0, rest),
        rest => {
            let (suffix, rest) = token(rest);
            let (unit, factor) = Unit::of_suffix(suffix);
            (unit, factor, rest)
        }
    };
    let value = written * factor;
    value.is_finite().then_some((Sample { kind, name, value, unit, written }, rest))
}

/// What follows the first token, a quoted value counting as part of it.
fn skip_token(b: &[u8]) -> &[u8] {
    let end = find_near(b, b' ').unwrap_or(b.len());
    let quote = memchr::memmem::find(&b[..end], b"=\"").map(|i| i + 2);
    let end = match quote {
        Some(open) => memchr::memchr(b'"', &b[open..]).map_or(end, |i| (open + i + 1).max(end)),
        None => end,
    };
    b.get(end + 1..).unwrap_or(&[])
}

/// Powers of ten that a double holds exactly.
const POW10: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The same as whole numbers.
const TEN: [u64; 16] = {
    let mut powers = [1; 16];
    let mut i = 1;
    while i < 16 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// A decimal number at the start of `b` (sign, fraction and exponent optional) and its length. Equal to the standard
/// library's reading of the same characters: a mantissa below 2^53 divided by an exact power of ten rounds once, correctly;
/// everything longer goes through the standard library.
#[inline(always)]
pub(super) fn decimal(b: &[u8]) -> Option<(f64, usize)> {
    let start = matches!(b.first(), Some(b'-' | b'+')) as usize;
    let (whole, whole_len) = leading_number(&b[start..]);
    let mut i = start + whole_len;
    let (mut mantissa, mut decimals) = (whole, 0);
    if b.get(i) == Some(&b'.') {
        let (fraction, len) = match &b[i + 1..] {
            [d @ b'0'..=b'9', c @ b'0'..=b'9', after, ..] if !after.is_ascii_digit() => {
                ((d - b'0') as u64 * 10 + (c - b'0') as u64, 2)
            }
            rest => leading_number(rest),
        };
        i += 1 + len;
        decimals = len;
        // Beyond fifteen digits the result is not used.
        mantissa = whole.wrapping_mul(TEN[len.min(15)]).wrapping_add(fraction);
    }
    let digits = whole_len + decimals;
    if digits == 0 {
        return None;
    }
    if digits > 15 || matches!(b.get(i), Some(b'e' | b'E')) {
        return long_decimal(b, i);
    }
    // Below 2^53, so the detour over a signed number, which converts faster, changes nothing.
    let value = mantissa as i64 as f64;
    let value = if decimals == 0 { value } else { value / POW10[decimals] };
    Some((if b[0] == b'-' { -value } else { value }, i))
}

/// The uncommon forms. `end` is where digits and point end; an exponent may follow.
#[cold]
fn long_decimal(b: &[u8], mut end: usize) -> Option<(f64, usize)> {
    if matches!(b.get(end), Some(b'e' | b'E')) {
        let sign = matches!(b.get(end + 1), Some(b'-' | b'+')) as usize;
        let digits = b[end + 1 + sign..].iter().take_while(|c| c.is_ascii_digit()).count();
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    let value = std::str::from_utf8(&b[..end]).ok()?.parse::<f64>().ok()?;
    value.is_finite().then_some((value, end))
}
