//! The small texts of the rule language: durations (`5m`), thresholds (`> 3`), shares (`> 5%`), globs (`web.*`). Owns
//! reading them and saying what would have been right; which key they stand in is the configuration's business.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was wrong with a value, and what would be right. The caller adds where it stood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Reads `90s`, `5m`, `1h30m`, `2d`, `250ms`. Units must fall; zero is `0s`.
///
/// # Errors
/// When a number or a unit is missing or unknown, or the sum is over 365 days.
pub fn duration(text: &str) -> Result<Duration, Invalid> {
    let wrong = || {
        Invalid(format!(
            "{text:?} is not a duration: write a number and a unit, as in \"90s\", \"5m\", \"1h30m\" or \"2d\""
        ))
    };
    let (mut rest, mut total, mut last) = (text.trim(), Duration::ZERO, u64::MAX);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest.get(..digits).and_then(|d| d.parse().ok()).ok_or_else(wrong)?;
        let after = rest.get(digits..).unwrap_or("");
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit_ms = match after.get(..unit_end).unwrap_or("").trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        if unit_ms >= last {
            return Err(wrong());
        }
        last = unit_ms;
        total = total.saturating_add(Duration::from_millis(number.saturating_mul(unit_ms)));
        rest = after.get(unit_end..).unwrap_or("");
    }
    if total > Duration::from_secs(365 * 86_400) {
        return Err(Invalid(format!("{text:?} is longer than 365 days")));
    }
    Ok(total)
}

/// Writes a duration the way [`duration`] reads it: `1h30m`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit_ms, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
        if ms >= unit_ms {
            out.push_str(&format!("{}{unit}", ms / unit_ms));
            ms %= unit_ms;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// How a measured number is compared with the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `>`
    #[serde(rename = ">")]
    Above,
    /// `>=`
    #[serde(rename = ">=")]
    AtLeast,
    /// `<`
    #[serde(rename = "<")]
    Below,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
}

impl Comparison {
    /// The sign, as written in a rule.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    /// Splits `> 3` into its sign and the rest.
    pub(crate) fn split(text: &str) -> Option<(Self, &str)> {
        let text = text.trim();
        [(">=", Self::AtLeast), ("<=", Self::AtMost), (">", Self::Above), ("<", Self::Below)]
            .into_iter()
            .find_map(|(sign, comparison)| Some((comparison, text.strip_prefix(sign)?.trim())))
    }
}

/// The most events that a rule may ask for in one window. It bounds what a window keeps.
pub const COUNT_MAX: u64 = 10_000;

/// A number of events in a window: `> 3` or `>= 4`. Both mean what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountThreshold {
    /// `>` or `>=`.
    pub comparison: Comparison,
    /// The number beside it; `needed` events make it true, 1 to [`COUNT_MAX`].
    pub number: u64,
}

impl CountThreshold {
    /// The least number of events that makes this true.
    #[must_use]
    pub fn needed(self) -> usize {
        let needed = if self.comparison == Comparison::Above { self.number.saturating_add(1) } else { self.number };
        usize::try_from(needed).unwrap_or(usize::MAX).max(1)
    }
}

impl FromStr for CountThreshold {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid(format!("{text:?} is not a count: write \"> 3\" (more than three) or \">= 4\""));
        let (comparison, number) = Comparison::split(text).ok_or_else(wrong)?;
        if !matches!(comparison, Comparison::Above | Comparison::AtLeast) {
            return Err(Invalid(format!(
                "{text:?}: a count fires on many, so it begins with > or >=; for \"too few\" use `absence`"
            )));
        }
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let count = Self { comparison, number };
        if count.needed() as u64 > COUNT_MAX || (comparison == Comparison::AtLeast && number == 0) {
            return Err(Invalid(format!("{text:?}: a count must need between 1 and {COUNT_MAX} events")));
        }
        Ok(count)
    }
}

impl fmt::Display for CountThreshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison.sign(), self.number)
    }
}

/// A share of requests: `> 5%` or `>= 0.5%`. Kept in parts per million, so that equal texts are equal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareThreshold {
    /// `>` or `>=`.
    pub comparison: Comparison,
    /// The limit in parts per million; 1,000,000 is 100 %.
    pub limit_ppm: u64,
}

impl ShareThreshold {
    /// Whether `part` of `whole` is over the limit. A share of nothing is not.
    #[must_use]
    pub fn holds(self, part: u64, whole: u64) -> bool {
        let (left, right) = (u128::from(part) * 1_000_000, u128::from(whole) * u128::from(self.limit_ppm));
        whole > 0 && if self.comparison == Comparison::AtLeast { left >= right } else { left > right }
    }
}

impl FromStr for ShareThreshold {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid(format!("{text:?} is not a share: write \"> 5%\" or \">= 0.5%\""));
        let (comparison, number) = Comparison::split(text).ok_or_else(wrong)?;
        if !matches!(comparison, Comparison::Above | Comparison::AtLeast) {
            return Err(Invalid(format!("{text:?}: a ratio fires on a high share, so it begins with > or >=")));
        }
        let number = number.strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |d: &str| d.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 4 || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let limit_ppm = format!("{whole}{fraction:0<4}").parse::<u64>().map_err(|_| wrong())?;
        if limit_ppm > 1_000_000 {
            return Err(Invalid(format!("{text:?}: a share is at most 100%")));
        }
        Ok(Self { comparison, limit_ppm })
    }
}

impl fmt::Display for ShareThreshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison.sign(), show_ppm(self.limit_ppm))
    }
}

/// Parts per million as a percentage with no needless digits: `2.5%`.
#[must_use]
pub fn show_ppm(ppm: u64) -> String {
    let fraction = format!("{:04}", ppm % 10_000);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{}%", ppm / 10_000) } else { format!("{}.{fraction}%", ppm / 10_000) }
}

/// A name with `*` for any run of characters and `?` for one, anchored at both ends: `web.*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Glob(String);

/// The longest glob; it bounds the work of one comparison.
pub const GLOB_BYTES_MAX: usize = 128;

impl Glob {
    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` fits. Linear in practice and at most pattern times name.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let (mut p, mut n, mut retry) = (0, 0, None);
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p, n));
                    p += 1;
                }
                Some(&c) if c == b'?' || Some(&c) == name.get(n) => {
                    p += 1;
                    n += 1;
                }
                _ => match retry {
                    Some((star, from)) => {
                        retry = Some((star, from + 1));
                        p = star + 1;
                        n = from + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern.get(p..).is_some_and(|rest| rest.iter().all(|&c| c == b'*'))
    }
}

impl FromStr for Glob {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > GLOB_BYTES_MAX || text.contains(char::is_whitespace) {
            return Err(Invalid(format!(
                "{text:?} is not a name pattern: write 1 to {GLOB_BYTES_MAX} bytes without blanks, as in \"web.*\""
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ok =
            [("5m", 300_000), ("90s", 90_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("250ms", 250), ("0s", 0)];
        for (text, ms) in ok {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(duration(&show_duration(Duration::from_millis(ms))), duration(text), "{text}");
        }
        for text in ["", "5", "m", "5 minutes", "-5m", "5m1h", "5m5m", "1.5h", "366d", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_mean_what_they_say() {
        for (text, needed) in [("> 3", 4), (">= 4", 4), (">3", 4), ("> 0", 1), (">= 1", 1)] {
            assert_eq!(text.parse::<CountThreshold>().map(CountThreshold::needed), Ok(needed), "{text}");
        }
        for text in ["3", "< 3", "= 3", "> -1", "> 3.5", ">= 0", "> 10000", ">"] {
            assert!(text.parse::<CountThreshold>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares() {
        let over: ShareThreshold = "> 5%".parse().unwrap();
        assert!(!over.holds(5, 100) && over.holds(51, 1000) && !over.holds(0, 0));
        let at_least: ShareThreshold = ">= 0.5%".parse().unwrap();
        assert!(at_least.holds(5, 1000) && !at_least.holds(4, 1000) && !at_least.holds(0, 0));
        assert_eq!((over.to_string(), at_least.to_string()), ("> 5%".into(), ">= 0.5%".into()));
        for text in ["5%", "> 5", "< 5%", "> 101%", "> -1%", "> 0.00001%", "> %"] {
            assert!(text.parse::<ShareThreshold>().is_err(), "{text}");
        }
    }

    #[test]
    fn globs() {
        let cases = [
            ("web.*", "web.1", true),
            ("web.*", "webx1", false),
            ("*", "", true),
            ("w?b.1", "web.1", true),
            ("*.1", "web.11", false),
            ("a*b*c", "aXbXbc", true),
            ("web", "web.1", false),
        ];
        for (glob, name, want) in cases {
            assert_eq!(glob.parse::<Glob>().unwrap().matches(name.as_bytes()), want, "{glob} {name}");
        }
    }
}
