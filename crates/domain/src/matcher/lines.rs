//! One rule's match, compiled: what a line must be. Compares the parts, cheapest first; how a rule is found at all is
//! the parent's business.

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

use super::{Class, MatcherError, REGEX_BYTES_MAX};
use crate::parse::Glob;
use crate::rule::{MatchSpec, Rule, StatusPattern};
use crate::signal::{Code, Kind, Signal, Source};

const _: () = assert!(Kind::ALL.len() <= 32, "kinds are bits of a u32");

/// Parts that finding the rule has proven already.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    pub(super) text: bool,
    pub(super) regex: bool,
}

/// What a line must be. Empty lists ask nothing.
#[derive(Debug)]
pub(super) struct Lines {
    classes: u8,
    kinds: u32,
    /// Whether `classes` and `kinds` are all there is.
    plain: bool,
    codes: Vec<Code>,
    process: Vec<Glob>,
    dyno: Vec<Glob>,
    statuses: Vec<StatusPattern>,
    paths: Vec<String>,
    texts: Vec<memmem::Finder<'static>>,
    regex: Option<Regex>,
}

impl Lines {
    /// The lines that a count or an absence takes.
    pub(super) fn new(rule: &Rule) -> Result<Self, MatcherError> {
        let regex = rule.matches.regex.as_deref().map(|pattern| compile(rule, pattern)).transpose()?;
        Ok(Self::of_parts(&rule.matches, classes(&rule.matches), regex))
    }

    /// The requests of which a ratio takes a share.
    pub(super) fn of_requests(rule: &Rule) -> Result<Self, MatcherError> {
        let population = MatchSpec { code: Vec::new(), status: Vec::new(), ..rule.matches.clone() };
        let mut lines = Self::new(&Rule { matches: population, ..rule.clone() })?;
        lines.kinds &= bit(Kind::Router);
        Ok(lines)
    }

    /// The requests that are a ratio's share, among those it counts.
    pub(super) fn share(spec: &MatchSpec) -> Self {
        let share = MatchSpec { code: spec.code.clone(), status: spec.status.clone(), ..MatchSpec::default() };
        Self::of_parts(&share, u8::MAX, None)
    }

    fn of_parts(spec: &MatchSpec, classes: u8, regex: Option<Regex>) -> Self {
        let kinds = spec.kind.iter().fold(0, |bits, kind| bits | bit(*kind));
        let shape = MatchSpec { kind: Vec::new(), source: None, ..spec.clone() };
        Self {
            classes,
            kinds: if spec.kind.is_empty() { u32::MAX } else { kinds },
            plain: shape == MatchSpec::default(),
            codes: spec.code.clone(),
            process: spec.process.clone(),
            dyno: spec.dyno.clone(),
            statuses: spec.status.clone(),
            paths: spec.path_prefix.clone(),
            texts: spec.text.iter().map(|text| memmem::Finder::new(text.as_bytes()).into_owned()).collect(),
            regex,
        }
    }

    /// Whether lines of that class can fit.
    pub(super) fn reads(&self, class: Class) -> bool {
        self.classes & class.bit() != 0
    }

    /// Whether some line of that source and kind can fit.
    pub(super) fn may_be(&self, source: Source, kind: Kind) -> bool {
        let class = match (source, kind) {
            (Source::App, _) => Class::App,
            (Source::Heroku, Kind::Router) => Class::Router,
            (Source::Heroku | Source::Dynowatch, _) => Class::Platform,
        };
        self.reads(class) && self.kinds & bit(kind) != 0
    }

    /// Whether the line fits, but for what is known.
    #[inline]
    pub(super) fn fit(&self, signal: &Signal<'_>, known: Known) -> bool {
        self.may_be(signal.source, signal.kind) && (self.plain || self.parts_fit(signal, known))
    }

    fn parts_fit(&self, signal: &Signal<'_>, known: Known) -> bool {
        (self.codes.is_empty() || signal.code.is_some_and(|code| self.codes.contains(&code)))
            && (self.statuses.is_empty() || signal.status.is_some_and(|s| self.statuses.iter().any(|p| p.matches(s))))
            && (self.process.is_empty() || self.process.iter().any(|glob| process_fits(glob, signal.process)))
            && (self.dyno.is_empty() || !signal.dyno.is_empty() && self.dyno.iter().any(|g| g.matches(signal.dyno)))
            && (self.paths.is_empty()
                || signal.path.is_some_and(|p| self.paths.iter().any(|f| p.starts_with(f.as_bytes()))))
            && (known.text || self.texts.is_empty() || self.texts.iter().any(|f| f.find(signal.text).is_some()))
            && (known.regex || self.regex.as_ref().is_none_or(|regex| regex.is_match(signal.text)))
    }
}

fn bit(kind: Kind) -> u32 {
    1 << kind.index()
}

/// `web` and `web.*` both mean the dynos of that type.
fn process_fits(glob: &Glob, process: &[u8]) -> bool {
    glob.matches(Signal::process_type(process)) || glob.matches(process)
}

/// The classes of lines that a match reads. Text is looked for in app lines; `source = "heroku"`, a code or a kind
/// leads it elsewhere, and the router's lines, which are many, it reads only when they are named.
fn classes(spec: &MatchSpec) -> u8 {
    let (app, platform, router) = (Class::App.bit(), Class::Platform.bit(), Class::Router.bit());
    let names_router = spec.process.iter().any(|glob| glob.as_str() == "router")
        || spec.kind.contains(&Kind::Router)
        || spec.code.iter().any(|code| code.letter() == b'H');
    let heroku = if spec.reads_text() && !names_router { platform } else { platform | router };
    match spec.source {
        Some(Source::App) => app,
        Some(Source::Heroku | Source::Dynowatch) => heroku,
        None if spec.reads_text() && spec.code.is_empty() && spec.kind.is_empty() => app,
        None => app | heroku,
    }
}

fn compile(rule: &Rule, pattern: &str) -> Result<Regex, MatcherError> {
    let built = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|error| {
        let text = match error {
            regex::Error::CompiledTooBig(_) => {
                format!("{pattern:?} takes more than {REGEX_BYTES_MAX} bytes of memory: repeat less, or write [0-9] and (?-u:\\w) for \\d and \\w")
            }
            other => super::regex_problem(pattern).unwrap_or_else(|| other.to_string()),
        };
        MatcherError::new(rule, "match.regex", text)
    })
}
