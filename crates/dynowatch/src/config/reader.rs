//! A parsed TOML document, read piece by piece: every piece knows its key and its line, and says for itself what is
//! wrong with it. Reading goes on after an error, so that one run reports them all. Owns places, types and unknown
//! keys; what a value means is its reader's business.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use dynowatch_domain::mask::mask;
use dynowatch_domain::parse::{self, Invalid};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::ConfigError;
use super::names::did_you_mean;

/// The longest piece of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// Collects what is wrong and what is odd.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// Byte offsets at which lines begin.
    line_starts: Vec<usize>,
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<String>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, line_starts, errors: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    /// The whole text.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> u32 {
        u32::try_from(self.line_starts.partition_point(|&start| start <= at)).unwrap_or(u32::MAX)
    }

    fn column(&self, at: usize) -> u32 {
        let start = self.line_starts.get((self.line(at) as usize).saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..at).map_or(0, |before| before.chars().count());
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// An error at a byte of the file. Values in `problem` went through [`shortened`].
    pub(super) fn error(&self, at: usize, key: &str, problem: &str) {
        self.push(ConfigError {
            file: self.file.to_owned(),
            line: Some(self.line(at)),
            column: Some(self.column(at)),
            key: key.to_owned(),
            problem: problem.to_owned(),
        });
    }

    pub(super) fn push(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }

    /// How many errors there are so far; a reader compares to know whether its own part was good.
    pub(super) fn errors_len(&self) -> usize {
        self.errors.borrow().len()
    }

    pub(super) fn warn(&self, text: String) {
        self.warnings.borrow_mut().push(text);
    }

    pub(super) fn into_parts(self) -> (Vec<ConfigError>, Vec<String>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }
}

/// A value of the file.
#[derive(Clone)]
pub(super) struct Node<'a> {
    report: &'a Report<'a>,
    pub(super) key: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Node<'a> {
    fn new(report: &'a Report<'a>, key: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { report, key, span: value.span(), value: value.get_ref() }
    }

    pub(super) fn line(&self) -> u32 {
        self.report.line(self.span.start)
    }

    /// Says what is wrong with this value, and gives nothing, for use at the end of a reader.
    pub(super) fn fail<T>(&self, problem: impl fmt::Display) -> Option<T> {
        self.report.error(self.span.start, &self.key, &problem.to_string());
        None
    }

    /// Says that something is odd, with its place.
    pub(super) fn warn(&self, text: impl fmt::Display) {
        self.report.warn(format!("{}:{}: {}: {text}", self.report.file, self.line(), self.key));
    }

    fn wrong_type<T>(&self, wanted: &str) -> Option<T> {
        self.fail(format!("{}: write {wanted}", self.shown()))
    }

    /// The value in words, for errors: `3 is an integer`.
    fn shown(&self) -> String {
        match self.value {
            DeValue::String(text) => format!("{:?} is a text", shortened(text)),
            DeValue::Integer(number) => format!("{number} is an integer"),
            DeValue::Float(number) => format!("{number} is a fraction"),
            DeValue::Boolean(flag) => format!("{flag} is a boolean"),
            DeValue::Datetime(at) => format!("{at} is a date or time"),
            DeValue::Array(_) => "this is a list".to_owned(),
            DeValue::Table(_) => "this is a table".to_owned(),
        }
    }

    /// The value as text; `wanted` says what to write instead of another type.
    pub(super) fn text(&self, wanted: &str) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(wanted),
        }
    }

    /// The value as text or as the digits of a plain integer.
    pub(super) fn text_or_digits(&self, wanted: &str) -> Option<&'a str> {
        match self.value {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            _ => self.text(wanted),
        }
    }

    /// The value as text, or a date or time as it is written.
    pub(super) fn text_or_time(&self, wanted: &str) -> Option<String> {
        match self.value {
            DeValue::Datetime(at) => Some(at.to_string()),
            _ => self.text(wanted).map(str::to_owned),
        }
    }

    /// Whether it is `true` or `false`, for keys that take something else as well.
    pub(super) fn is_flag(&self) -> bool {
        matches!(self.value, DeValue::Boolean(_))
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong_type("true or false"),
        }
    }

    /// An integer in a range; `unit` is what it counts.
    pub(super) fn number(&self, range: std::ops::RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let wanted = format!("a number of {unit} from {} to {}", range.start(), range.end());
        self.integer(range, &wanted)
    }

    /// An integer in a range; `wanted` says what to write.
    pub(super) fn integer(&self, range: std::ops::RangeInclusive<u64>, wanted: &str) -> Option<u64> {
        let DeValue::Integer(number) = self.value else {
            return self.wrong_type(wanted);
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => self.fail(format!("{number} is out of range: write {wanted}")),
        }
    }

    /// A text of the rule language.
    pub(super) fn parsed<T: FromStr<Err = Invalid>>(&self, wanted: &str) -> Option<T> {
        match self.short_text(wanted)?.parse() {
            Ok(value) => Some(value),
            Err(invalid) => self.invalid(&invalid),
        }
    }

    /// What the domain says of a value, which it repeats as it stands.
    pub(super) fn invalid<T>(&self, invalid: &Invalid) -> Option<T> {
        self.fail(mask(&invalid.0))
    }

    /// A text that the rule language repeats in its errors, and so a short one.
    fn short_text(&self, wanted: &str) -> Option<&'a str> {
        match self.text(wanted)? {
            text if text.chars().count() > 2 * SHOWN_CHARS_MAX => {
                self.fail(format!("{:?} is too long: write {wanted}", shortened(text)))
            }
            text => Some(text),
        }
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        match parse::duration(self.short_text("a duration such as \"5m\" or \"90s\"")?) {
            Ok(duration) => Some(duration),
            Err(invalid) => self.invalid(&invalid),
        }
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, what: &str, known: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let text = self.text(&format!("one of: {}", names.join(", ")))?;
        match known.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Some(*value),
            None => self.fail(format!("{:?} is not {what}: {}", shortened(text), did_you_mean(text, &names))),
        }
    }

    /// The values of a list.
    pub(super) fn list(&self, wanted: &str) -> Option<Vec<Node<'a>>> {
        match self.value {
            DeValue::Array(array) => Some(self.items(array)),
            _ => self.wrong_type(wanted),
        }
    }

    /// The values of a list, or the one value alone. An empty list is an error: it would ask nothing.
    pub(super) fn one_or_more(&self) -> Vec<Node<'a>> {
        match self.value {
            DeValue::Array(array) if array.is_empty() => {
                self.fail::<()>("this list is empty: write a value, or leave the key out");
                Vec::new()
            }
            DeValue::Array(array) => self.items(array),
            _ => vec![self.clone()],
        }
    }

    fn items(&self, array: &'a DeArray<'a>) -> Vec<Node<'a>> {
        array.iter().enumerate().map(|(i, value)| Self::new(self.report, format!("{}[{i}]", self.key), value)).collect()
    }

    /// The value as a table in which only `known` keys may stand.
    pub(super) fn table(&self, known: &[&str], wanted: &str) -> Option<Table<'a>> {
        let table = self.any_table(wanted)?;
        table.refuse_unknown(known);
        Some(table)
    }

    /// The value as a table with any keys.
    pub(super) fn any_table(&self, wanted: &str) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(entries) => {
                Some(Table { report: self.report, key: self.key.clone(), at: self.span.start, entries })
            }
            _ => self.wrong_type(wanted),
        }
    }
}

/// A table of the file.
#[derive(Clone)]
pub(super) struct Table<'a> {
    pub(super) report: &'a Report<'a>,
    key: String,
    at: usize,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(super) fn root(report: &'a Report<'a>, entries: &'a DeTable<'a>) -> Self {
        Self { report, key: String::new(), at: 0, entries }
    }

    /// Says that something is wrong with the table as a whole, or that `key` is missing from it.
    pub(super) fn fail<T>(&self, key: &str, problem: impl fmt::Display) -> Option<T> {
        self.report.error(self.at, &self.path(key), &problem.to_string());
        None
    }

    /// Says that something about the table is odd, with its place.
    pub(super) fn warn(&self, text: impl fmt::Display) {
        let line = self.report.line(self.at);
        self.report.warn(format!("{}:{line}: {}: {text}", self.report.file, self.key));
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        self.entries.get(key).map(|value| Node::new(self.report, self.path(key), value))
    }

    /// Keys with their values, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'a str, Node<'a>)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .map(|(key, value)| (key.get_ref().as_ref(), Node::new(self.report, self.path(key.get_ref()), value)))
            .collect()
    }

    /// The tables under a key that is written `[[key]]`.
    pub(super) fn tables(&self, key: &str, known: &[&str]) -> Vec<Table<'a>> {
        let wanted = format!("tables, each under a line [[{key}]]");
        let nodes = self.get(key).and_then(|node| node.list(&wanted)).unwrap_or_default();
        nodes.iter().filter_map(|node| node.table(known, &wanted)).collect()
    }

    /// The table under a key that is written `[key]`.
    pub(super) fn table(&self, key: &str, known: &[&str]) -> Option<Table<'a>> {
        self.get(key)?.table(known, &format!("a table under a line [{key}]"))
    }

    /// Keys that are not known are errors: a misspelt limit that is silently ignored is a page that never comes.
    pub(super) fn refuse_unknown(&self, known: &[&str]) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let secret = ["token", "secret", "password", "api_key"].contains(&name);
            let env = format!("{name}_env");
            let problem = if secret && known.contains(&env.as_str()) {
                format!(
                    "a secret does not stand in the file: put it into an environment variable and name that with `{env}`"
                )
            } else {
                format!("unknown key: {}", did_you_mean(name, known))
            };
            self.report.error(at, &self.path(name), &problem);
        }
    }

    fn path(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let shown = if bare || key.is_empty() { key.to_owned() } else { format!("{:?}", shortened(key)) };
        match (self.key.is_empty(), key.is_empty()) {
            (true, _) => shown,
            (false, true) => self.key.clone(),
            (false, false) => format!("{}.{shown}", self.key),
        }
    }
}

/// The beginning of a value, for errors; known shapes of secrets in it are masked.
pub(super) fn shortened(text: &str) -> String {
    let text = &*mask(text);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}
