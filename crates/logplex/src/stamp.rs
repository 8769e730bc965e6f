//! RFC 3339 time stamps to microseconds since 1970, UTC. Exact: digits beyond the microsecond are cut, not rounded.
//!
//! Accepted: `YYYY-MM-DDTHH:MM:SS`, a fraction of one to nine digits or none, and `Z` or any `±HH:MM`. Second 60 is
//! refused as RFC 5424 asks. Years are 0000 to 9999.

use crate::bytes::digits8;

/// Length of `YYYY-MM-DDTHH:MM:SS`.
const SECOND_LEN: usize = 19;

/// Remembers the last second that was read. Lines of a batch mostly share it, and then a stamp costs a comparison of 19
/// bytes instead of calendar arithmetic. One per worker; the result never depends on what it holds.
#[derive(Debug, Clone)]
pub struct StampCache {
    text: [u8; SECOND_LEN],
    /// Microseconds of `text` read as UTC.
    us: i64,
}

impl Default for StampCache {
    fn default() -> Self {
        StampCache { text: *b"1970-01-01T00:00:00", us: 0 }
    }
}

impl StampCache {
    #[inline(always)]
    fn second_us(&mut self, text: &[u8; SECOND_LEN]) -> Option<i64> {
        if *text != self.text {
            self.us = civil_us(text)?;
            self.text = *text;
        }
        Some(self.us)
    }

    /// Microseconds since 1970 UTC of a whole stamp; `None` when `text` is anything but one.
    #[inline(always)]
    pub fn stamp(&mut self, text: &[u8]) -> Option<i64> {
        let second = self.second_us(text.first_chunk()?)?;
        // What Logplex writes: six digits and the zone in numbers.
        if let Some(tail) = text[SECOND_LEN..].as_array::<13>()
            && tail[0] == b'.'
            && tail[7..] == *b"+00:00"
            && let Some(digits) = tail[1..].first_chunk()
            && let (us, 6) = digits8(digits)
        {
            return Some(second + us as i64);
        }
        general(second, &text[SECOND_LEN..])
    }
}

/// Fraction and zone of any accepted form.
fn general(second: i64, rest: &[u8]) -> Option<i64> {
    let (mut us, mut rest) = (0i64, rest);
    if let Some(fraction) = rest.strip_prefix(b".") {
        let len = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
        if !(1..=9).contains(&len) {
            return None;
        }
        for i in 0..6 {
            us = us * 10 + fraction[..len].get(i).map_or(0, |c| (c - b'0') as i64);
        }
        rest = &fraction[len..];
    }
    let offset_min = match *rest {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (pair(h1, h2)?, pair(m1, m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let min = hours * 60 + minutes;
            if sign == b'-' { -min } else { min }
        }
        _ => return None,
    };
    Some(second + us - offset_min * 60_000_000)
}

fn pair(a: u8, b: u8) -> Option<i64> {
    (a.is_ascii_digit() && b.is_ascii_digit()).then(|| ((a - b'0') * 10 + (b - b'0')) as i64)
}

/// `YYYY-MM-DDTHH:MM:SS` as UTC microseconds.
fn civil_us(t: &[u8; SECOND_LEN]) -> Option<i64> {
    let marks = t[4] == b'-' && t[7] == b'-' && t[10] == b'T' && t[13] == b':' && t[16] == b':';
    if !marks {
        return None;
    }
    let year = pair(t[0], t[1])? * 100 + pair(t[2], t[3])?;
    let (month, day) = (pair(t[5], t[6])?, pair(t[8], t[9])?);
    let (hour, minute, second) = (pair(t[11], t[12])?, pair(t[14], t[15])?, pair(t[17], t[18])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + leap as i64,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Whether `b` begins with the outline `dddd-dd-ddT`, valid or not.
pub(crate) fn begins_like_stamp(b: &[u8]) -> bool {
    let Some(b) = b.first_chunk::<11>() else {
        return false;
    };
    b[4] == b'-'
        && b[7] == b'-'
        && b[10] == b'T'
        && b.iter().enumerate().all(|(i, c)| matches!(i, 4 | 7 | 10) || c.is_ascii_digit())
}
