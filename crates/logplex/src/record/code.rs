//! Heroku's error codes as small numbers.

use std::fmt;

/// Which part of the platform speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Letter {
    /// The router: on router lines only.
    H,
    /// A dyno's manager: on `heroku`/dyno lines only.
    R,
    /// Logplex: about lost or refused log lines.
    L,
}

/// An error code: a letter and a number of two or three digits, such as `H12` or `R151`.
///
/// A code read here is a *shape*; whether it stands in its true place is decided by [`mod@crate::record`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

const NUMBERS: u16 = 1000;

impl Code {
    /// One more than the greatest [`Code::index`], for tables.
    pub const COUNT: usize = 3 * NUMBERS as usize;

    /// The code of a letter and a number; `None` when the number is above 999.
    pub const fn new(letter: Letter, number: u16) -> Option<Code> {
        if number < NUMBERS { Some(Code(letter as u16 * NUMBERS + number)) } else { None }
    }

    /// Reads exactly `H12`, `R14`, `L10`, `R151`: upper case, two or three digits, no needless zero in front.
    #[inline]
    pub fn parse(b: &[u8]) -> Option<Code> {
        let (letter, digits) = match b {
            [b'H', digits @ ..] => (Letter::H, digits),
            [b'R', digits @ ..] => (Letter::R, digits),
            [b'L', digits @ ..] => (Letter::L, digits),
            _ => return None,
        };
        let digit = |c: u8| c.is_ascii_digit().then(|| (c - b'0') as u16);
        let number = match *digits {
            [a, b] => digit(a)? * 10 + digit(b)?,
            [a, b, c] if a != b'0' => digit(a)? * 100 + digit(b)? * 10 + digit(c)?,
            _ => return None,
        };
        Code::new(letter, number)
    }

    /// The part of the platform.
    pub const fn letter(self) -> Letter {
        match self.0 / NUMBERS {
            0 => Letter::H,
            1 => Letter::R,
            _ => Letter::L,
        }
    }

    /// The number behind the letter, 0 to 999.
    pub const fn number(self) -> u16 {
        self.0 % NUMBERS
    }

    /// A dense number below [`Code::COUNT`]; stable.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The code with this [`Code::index`].
    pub const fn from_index(index: usize) -> Option<Code> {
        if index < Code::COUNT { Some(Code(index as u16)) } else { None }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:02}", self.letter(), self.number())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
