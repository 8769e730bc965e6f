//! How an assertion is written. Owns the reading and its errors, which name the column and what would be right.
//!
//! ```text
//! assertion = subject test [ "clear" value ] [ "else" ( "down" | "degraded" ) ]
//! subject   = path | "len(" path ")"          path = name { "." name | "[" number "]" | "[" text "]" }
//! test      = "exists" | sign value | "in" number ".." number
//!           | [ "not" ] "contains" text | [ "not" ] "matches" text
//! sign      = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
//! value     = number [ "%" | "ms" | "s" | "m" | "h" | "d" | "B" | "kB" | "MB" | "GB" | "KiB" | "MiB" | "GiB" ]
//!           | text in double quotes | "true" | "false" | "null"
//! ```

use regex::RegexBuilder;

use super::assertion::{ASSERTION_BYTES_MAX, Assertion, Failure, Literal, Sign, SubjectPath, Test};
use super::decimal::Decimal;
use super::json_path::{STEPS_MAX, Step};

/// The compiled size of a pattern; what needs more is refused.
const REGEX_BYTES_MAX: usize = 256 << 10;

/// What is wrong with an assertion, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("assertion {text:?}, column {column}: {problem}")]
pub struct AssertionError {
    /// The assertion; its beginning if it is long.
    pub text: String,
    /// The character, from 1.
    pub column: usize,
    /// What is wrong there and what would be right.
    pub problem: String,
}

impl AssertionError {
    pub(super) fn new(text: &str, column: usize, problem: impl Into<String>) -> Self {
        Self { text: text.chars().take(120).collect(), column, problem: problem.into() }
    }
}

pub(super) fn read(text: &str) -> Result<Assertion, AssertionError> {
    if text.len() > ASSERTION_BYTES_MAX {
        let problem = format!("it is longer than {ASSERTION_BYTES_MAX} bytes");
        return Err(AssertionError::new(text, ASSERTION_BYTES_MAX + 1, problem));
    }
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    let subject_at = reader.column();
    let subject = reader.subject()?;
    reader.blanks();
    let (test, value_at) = reader.test()?;
    let clear = reader.clear(&test)?;
    let severity = reader.severity()?;
    reader.blanks();
    if !reader.rest().is_empty() {
        return Err(reader.wrong("nothing more is expected here but `clear VALUE` or `else degraded`"));
    }
    let columns = (subject_at, value_at);
    Ok(Assertion { text: text.trim().to_owned(), subject, test, clear, severity, columns })
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn column(&self) -> usize {
        self.text.get(..self.at).unwrap_or("").chars().count() + 1
    }

    fn wrong(&self, problem: impl Into<String>) -> AssertionError {
        AssertionError::new(self.text, self.column(), problem)
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// Takes the longest start of characters that fit.
    fn run(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("")
    }

    /// The next word without taking it.
    fn word_ahead(&self) -> &'t str {
        let rest = self.rest();
        rest.get(..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())).unwrap_or("")
    }

    fn word(&mut self, word: &str) -> bool {
        self.blanks();
        let found = self.word_ahead() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    fn subject(&mut self) -> Result<SubjectPath, AssertionError> {
        let is_length = self.take("len(");
        if is_length {
            self.blanks();
        }
        let start = self.at;
        let name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let root = self.run(name).to_owned();
        if root.is_empty() {
            return Err(self.wrong("a value's name is expected, as in `status = 200` or `body.queue.depth < 100`"));
        }
        let mut steps = Vec::new();
        loop {
            if self.take(".") {
                match self.run(name) {
                    "" => return Err(self.wrong("a name is expected after the dot")),
                    step => steps.push(Step::Key(step.to_owned())),
                }
            } else if self.take("[") {
                steps.push(if self.rest().starts_with('"') {
                    Step::Key(self.quoted()?)
                } else {
                    let digits = self.run(|c| c.is_ascii_digit());
                    let problem = "a place from 0 or a key in double quotes is expected in brackets";
                    Step::Index(digits.parse().map_err(|_| self.wrong(problem))?)
                });
                if !self.take("]") {
                    return Err(self.wrong("`]` is expected"));
                }
            } else {
                break;
            }
        }
        if steps.len() > STEPS_MAX {
            return Err(self.wrong(format!("a path has at most {STEPS_MAX} steps")));
        }
        let path = self.text.get(start..self.at).unwrap_or("").to_owned();
        if is_length {
            self.blanks();
            if !self.take(")") {
                return Err(self.wrong("`)` is expected: `len(body.items) > 0`"));
            }
        }
        Ok(SubjectPath { name: path, root, steps, is_length })
    }

    fn test(&mut self) -> Result<(Test, usize), AssertionError> {
        if self.word("exists") {
            return Ok((Test::Exists, self.column()));
        }
        if self.word("in") {
            return self.within();
        }
        let negated = self.word("not");
        for word in ["contains", "matches"] {
            if self.word(word) {
                self.blanks();
                let column = self.column();
                if !self.rest().starts_with('"') {
                    return Err(self.wrong(format!("a text in double quotes is expected after `{word}`")));
                }
                let text = self.quoted()?;
                return Ok((
                    if word == "contains" {
                        Test::Contains { text, negated }
                    } else {
                        let built = RegexBuilder::new(&text).size_limit(REGEX_BYTES_MAX).build();
                        let regex = built.map_err(|error| {
                            let reason = error.to_string();
                            let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ");
                            AssertionError::new(
                                self.text,
                                column,
                                format!("the regular expression cannot be used: {reason}"),
                            )
                        })?;
                        Test::Matches { regex, negated }
                    },
                    column,
                ));
            }
        }
        if negated {
            return Err(self.wrong("`not` goes with `contains` or `matches`; for values write `!=`"));
        }
        let sign = self.sign()?;
        self.blanks();
        let column = self.column();
        let literal = self.literal()?;
        let ordered = matches!(literal, Literal::Number(_) | Literal::Percent(_) | Literal::Duration(_));
        if !ordered && !matches!(sign, Sign::Equal | Sign::Unequal) {
            let problem = "only numbers and times can be less or more; use = or != with this value";
            return Err(AssertionError::new(self.text, column, problem));
        }
        Ok((Test::Compare(sign, literal), column))
    }

    fn sign(&mut self) -> Result<Sign, AssertionError> {
        let signs = [
            ("==", Sign::Equal),
            ("!=", Sign::Unequal),
            ("<=", Sign::AtMost),
            (">=", Sign::AtLeast),
            ("=", Sign::Equal),
            ("<", Sign::Below),
            (">", Sign::Above),
        ];
        match signs.into_iter().find(|(text, _)| self.take(text)) {
            Some((_, sign)) => Ok(sign),
            None => Err(self.wrong(
                "a comparison is expected: one of = != < <= > >=, `in 200..299`, `contains`, `matches` or `exists`",
            )),
        }
    }

    fn within(&mut self) -> Result<(Test, usize), AssertionError> {
        self.blanks();
        let (column, start) = (self.column(), self.at);
        let problem = "a range is expected, as in `200..299`";
        let bounds = self.run(|c| c.is_ascii_digit() || c == '.' || c == '-').split_once("..");
        let bounds = bounds.and_then(|(low, high)| Some((low.parse::<Decimal>().ok()?, high.parse::<Decimal>().ok()?)));
        let Some((low, high)) = bounds else {
            self.at = start;
            return Err(self.wrong(problem));
        };
        if low > high {
            return Err(AssertionError::new(
                self.text,
                column,
                format!("the range is empty: {low} is more than {high}"),
            ));
        }
        Ok((Test::Within(low, high), column))
    }

    fn literal(&mut self) -> Result<Literal, AssertionError> {
        let rest = self.rest();
        if rest.starts_with('"') {
            return Ok(Literal::Text(self.quoted()?));
        }
        for (word, literal) in [("true", Literal::Bool(true)), ("false", Literal::Bool(false)), ("null", Literal::Null)]
        {
            if self.word(word) {
                return Ok(literal);
            }
        }
        if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
            let problem =
                "a value is expected: a number, a time such as `500 ms`, a text in double quotes, true, false or null";
            return Err(self.wrong(problem));
        }
        let start = self.at;
        let mantissa = self.run(|c| c.is_ascii_digit() || c == '.' || c == '-' || c == '_');
        // An exponent, unless what follows is a unit.
        if self.rest().starts_with(['e', 'E']) && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit() || c == '-')
        {
            self.at += 1;
            self.run(|c| c.is_ascii_digit() || c == '-');
        }
        let written = self.text.get(start..self.at).unwrap_or(mantissa).replace('_', "");
        let number: Decimal = written.parse().map_err(|invalid: crate::parse::Invalid| {
            AssertionError::new(self.text, self.text.get(..start).unwrap_or("").chars().count() + 1, invalid.0)
        })?;
        self.with_unit(number)
    }

    fn with_unit(&mut self, number: Decimal) -> Result<Literal, AssertionError> {
        let before = self.at;
        self.blanks();
        if self.take("%") {
            return Ok(Literal::Percent(number));
        }
        let unit = self.word_ahead();
        if unit.is_empty() || matches!(unit, "clear" | "else") {
            self.at = before;
            return Ok(Literal::Number(number));
        }
        let literal = match unit {
            "ms" => Literal::Duration(number),
            "s" => Literal::Duration(number.times(1_000)),
            "m" => Literal::Duration(number.times(60_000)),
            "h" => Literal::Duration(number.times(3_600_000)),
            "d" => Literal::Duration(number.times(86_400_000)),
            "B" => Literal::Number(number),
            "kB" => Literal::Number(number.times_ten_to(3)),
            "MB" => Literal::Number(number.times_ten_to(6)),
            "GB" => Literal::Number(number.times_ten_to(9)),
            "KiB" => Literal::Number(number.times(1 << 10)),
            "MiB" => Literal::Number(number.times(1 << 20)),
            "GiB" => Literal::Number(number.times(1 << 30)),
            _ => {
                return Err(self.wrong(format!(
                    "{unit:?} is not a unit: write ms, s, m, h or d for a time, % for a share, B, kB, MB, GB, KiB, MiB or GiB for bytes"
                )));
            }
        };
        self.at += unit.len();
        Ok(literal)
    }

    /// A text in double quotes; `\"` and `\\` stand for the sign itself, every other backslash for a backslash.
    fn quoted(&mut self) -> Result<String, AssertionError> {
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\\' if chars.peek().is_some_and(|(_, next)| matches!(next, '"' | '\\')) => {
                    out.extend(chars.next().map(|(_, next)| next));
                }
                other => out.push(other),
            }
        }
        Err(self.wrong("the text does not end: a closing double quote is missing"))
    }

    fn clear(&mut self, test: &Test) -> Result<Option<Literal>, AssertionError> {
        if !self.word("clear") {
            return Ok(None);
        }
        self.blanks();
        let column = self.column();
        let level = self.literal()?;
        let problem = match (test, &level) {
            (Test::Compare(sign, Literal::Number(limit)), Literal::Number(clear))
            | (Test::Compare(sign, Literal::Percent(limit)), Literal::Percent(clear))
            | (Test::Compare(sign, Literal::Duration(limit)), Literal::Duration(clear)) => match sign {
                Sign::Below | Sign::AtMost if clear > limit => "the clear level must not be above the limit",
                Sign::Above | Sign::AtLeast if clear < limit => "the clear level must not be below the limit",
                Sign::Equal | Sign::Unequal => "a clear level goes with < <= > or >=",
                _ => return Ok(Some(level)),
            },
            (Test::Compare(..), _) => "the clear level must have the limit's unit",
            _ => "a clear level goes with < <= > or >=",
        };
        Err(AssertionError::new(self.text, column, problem))
    }

    fn severity(&mut self) -> Result<Failure, AssertionError> {
        if !self.word("else") {
            return Ok(Failure::Down);
        }
        if self.word("degraded") {
            Ok(Failure::Degraded)
        } else if self.word("down") {
            Ok(Failure::Down)
        } else {
            Err(self.wrong("`down` or `degraded` is expected after `else`"))
        }
    }
}
