//! Which lines somebody who reads the log wants to see, as typed into a form or an address. Owns reading it, saying at which
//! field something is wrong, and the question whether a line fits. The text that is looked at is the masked one: a filter
//! on the bytes themselves would answer questions about secrets.

use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::log_level::LogLevel;
use crate::matcher::regex_problem;
use crate::parse::Glob;
use crate::signal::Source;

/// The longest text or expression.
pub const QUERY_BYTES_MAX: usize = 200;
/// What a compiled expression may take, and each of its caches: many people look at once.
const REGEX_BYTES_MAX: usize = 256 * 1024;
/// Places in one line that are marked.
const RANGES_MAX: usize = 32;

/// A filter as it was typed; an empty part asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LineQuery {
    /// The app's name, with `*`.
    pub app: String,
    /// `app` or `heroku`.
    pub source: String,
    /// A process type (`web`), a dyno (`web.1`), a name of the platform (`router`), with `*`.
    pub process: String,
    /// The least level.
    pub level: String,
    /// A text in any case, or an expression between slashes: `/timeout|H1[23]/`, with `i` behind for any case.
    pub text: String,
}

/// What is wrong with a part of a filter, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryProblem {
    /// The name of the part, as in [`LineQuery`].
    pub part: &'static str,
    /// In words.
    pub text: String,
}

/// A filter that is ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct LineFilter {
    app: Option<Glob>,
    source: Option<Source>,
    process: Option<Glob>,
    level: Option<LogLevel>,
    text: Option<Expression>,
}

/// A text or a regular expression that is looked for in lines.
#[derive(Debug, Clone)]
pub struct Expression(Regex);

impl LineQuery {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads it.
    ///
    /// # Errors
    /// Everything that is wrong, each with the part it concerns.
    pub fn read(&self) -> Result<LineFilter, Vec<QueryProblem>> {
        let mut problems = Vec::new();
        let mut note = |part: &'static str, text: String| problems.push(QueryProblem { part, text });
        let mut glob = |part: &'static str, text: &str| match text.parse::<Glob>() {
            _ if text.is_empty() => None,
            Ok(glob) => Some(glob),
            Err(error) => {
                note(part, error.0);
                None
            }
        };
        let (app, process) = (glob("app", self.app.trim()), glob("process", self.process.trim()));
        let source = match self.source.as_str() {
            "" => None,
            "app" => Some(Source::App),
            "heroku" => Some(Source::Heroku),
            other => {
                note("source", format!("{other:?} is no source: write app or heroku"));
                None
            }
        };
        let level = (!self.level.is_empty()).then(|| self.level.parse::<LogLevel>()).transpose();
        let level = level.unwrap_or_else(|error| {
            note("level", error.0);
            None
        });
        let text = Expression::read(&self.text).unwrap_or_else(|problem| {
            note("text", problem);
            None
        });
        if problems.is_empty() { Ok(LineFilter { app, source, process, level, text }) } else { Err(problems) }
    }
}

impl Expression {
    /// Reads a text, or an expression between slashes; nothing for an empty text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > QUERY_BYTES_MAX {
            return Err(format!("this is {} bytes long: at most {QUERY_BYTES_MAX} are looked for", text.len()));
        }
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/').or_else(|| rest.strip_suffix("/i")));
        let (pattern, any_case) = match inner.filter(|inner| !inner.is_empty()) {
            Some(inner) => (inner.to_owned(), text.ends_with("/i")),
            None => (regex::escape(text), true),
        };
        if let Some(problem) = regex_problem(&pattern) {
            return Err(format!("this is no regular expression: {problem}; without slashes around it, it is a text"));
        }
        let built = RegexBuilder::new(&pattern)
            .case_insensitive(any_case)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build();
        built
            .map(|regex| Some(Self(regex)))
            .map_err(|_too_big| "this expression is too large: ask for less repetition".to_owned())
    }

    /// Where it finds something in a text, in order and apart from each other; not more than a reader can use.
    #[must_use]
    pub fn found_in(&self, text: &str) -> Vec<Range<usize>> {
        self.0.find_iter(text).filter(|found| !found.is_empty()).take(RANGES_MAX).map(|found| found.range()).collect()
    }
}

impl LineFilter {
    /// Whether lines of this app may fit at all.
    #[must_use]
    pub fn wants_app(&self, name: &str) -> bool {
        self.app.as_ref().is_none_or(|glob| glob.matches(name.as_bytes()))
    }

    /// Whether a line may fit by who wrote it.
    #[must_use]
    pub fn wants_writer(&self, source: Source, process: &[u8]) -> bool {
        self.source.is_none_or(|wanted| wanted == source)
            && self
                .process
                .as_ref()
                .is_none_or(|glob| glob.matches(process) || glob.matches(crate::signal::Signal::process_type(process)))
    }

    /// Whether both ask for lines of the same apps and writers, whatever these say.
    #[must_use]
    pub fn wants_same_writers(&self, other: &Self) -> bool {
        (&self.app, self.source, &self.process) == (&other.app, other.source, &other.process)
    }

    /// Whether it asks for more than who wrote a line.
    #[must_use]
    pub fn reads_text(&self) -> bool {
        self.level.is_some() || self.text.is_some()
    }

    /// Whether a line fits by what it says. `text` is masked.
    #[must_use]
    pub fn wants_text(&self, level: Option<LogLevel>, text: &str) -> bool {
        self.level.is_none_or(|least| level.is_some_and(|level| level >= least))
            && self.text.as_ref().is_none_or(|wanted| wanted.0.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(app: &str, source: &str, process: &str, level: &str, text: &str) -> LineQuery {
        let [app, source, process, level, text] = [app, source, process, level, text].map(str::to_owned);
        LineQuery { app, source, process, level, text }
    }

    fn fits(query: &LineQuery) -> bool {
        let filter = query.read().unwrap();
        let text = "ERROR Checkout took 4100 ms (of 3)";
        filter.wants_app("shop-web")
            && filter.wants_writer(Source::App, b"web.1")
            && filter.wants_text(LogLevel::of(text), text)
    }

    #[test]
    fn each_part_must_fit() {
        for (parts, want) in [
            (["", "", "", "", ""], true),
            (["shop-web", "app", "web.1", "error", "checkout"], true),
            (["shop-*", "", "web", "warning", "/took \\d{4,} ms/"], true),
            (["shop", "", "", "", ""], false),
            (["", "heroku", "", "", ""], false),
            (["", "", "web.2", "", ""], false),
            (["", "", "we", "", ""], false),
            (["", "", "w*", "", ""], true),
            (["", "", "", "critical", ""], false),
            (["", "", "", "", "/checkout/"], false),
            (["", "", "", "", "/checkout/i"], true),
            (["", "", "", "", "(of 3)"], true),
            (["", "", "", "", "took 4.00"], false),
        ] {
            let [app, source, process, level, text] = parts;
            assert_eq!(fits(&query(app, source, process, level, text)), want, "{parts:?}");
        }
    }

    #[test]
    fn problems_stand_at_their_part() {
        let huge = format!("/{}/", "x".repeat(300));
        for (parts, part, words) in [
            (["", "app", "", "", "/(unclosed/"], "text", "no regular expression"),
            (["", "", "", "", "/((a{100}){100}){100}/"], "text", "too large"),
            (["", "", "", "", huge.as_str()], "text", "at most 200"),
            (["", "x", "", "", ""], "source", "app or heroku"),
            (["", "", "", "loud", ""], "level", "critical"),
        ] {
            let [app, source, process, level, text] = parts;
            let problems = query(app, source, process, level, text).read().unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].part == part && problems[0].text.contains(words), "{problems:?}");
        }
        let both = query("", "x", "", "y", "").read().unwrap_err();
        assert_eq!(both.iter().map(|problem| problem.part).collect::<Vec<_>>(), ["source", "level"]);
    }

    #[test]
    fn what_is_found_can_be_marked() {
        let of = |text: &str| Expression::read(text).unwrap().unwrap();
        assert_eq!(of("a").found_in("xAya"), [1..2, 3..4]);
        assert_eq!(of("/x*/").found_in("ab").len(), 0, "nothing is no place");
        assert_eq!(of("a").found_in(&"a".repeat(100)).len(), RANGES_MAX);
    }
}
