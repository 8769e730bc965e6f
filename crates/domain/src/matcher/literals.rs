//! What must stand in a line for a regex to match at all. Such literals join the texts of the other rules in one
//! automaton, so that the regex itself runs on few lines. Also says what is wrong with a regex, on one line.

use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use regex_syntax::hir::{Hir, HirKind};

/// A shorter literal stands in too many lines to be worth looking for.
const LITERAL_BYTES_MIN: usize = 3;
/// More alternatives than this cost more than they spare. `(?i)` gives 64 spellings of six letters.
const LITERALS_MAX: usize = 64;

/// What is wrong with `pattern` as a regular expression, on one line; `None` for a good one.
#[must_use]
pub fn regex_problem(pattern: &str) -> Option<String> {
    let (problem, at) = match parse(pattern).err()? {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.column),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.column),
        other => return Some(other.to_string().replace('\n', " ")),
    };
    Some(format!("{problem}, at character {at}"))
}

/// Literals one of which stands in every text that `pattern` matches. `None` when there are none worth looking for.
pub(super) fn required(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let hir = parse(pattern).ok()?;
    let inner = anywhere(&hir);
    let best = [ExtractKind::Prefix, ExtractKind::Suffix].into_iter().filter_map(|kind| at_the_end(&hir, kind.clone()));
    best.chain(inner).max_by_key(|literals| worth(literals))
}

#[expect(clippy::result_large_err, reason = "the parser's own error, looked at once and dropped")]
fn parse(pattern: &str) -> Result<Hir, regex_syntax::Error> {
    // As `regex::bytes` does it: Unicode on, matches of any bytes allowed.
    regex_syntax::ParserBuilder::new().utf8(false).nest_limit(100).build().parse(pattern)
}

/// Long literals first, then few of them.
fn worth(literals: &[Vec<u8>]) -> (usize, std::cmp::Reverse<usize>) {
    (literals.iter().map(Vec::len).min().unwrap_or(0), std::cmp::Reverse(literals.len()))
}

fn good(literals: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let fits =
        !literals.is_empty() && literals.len() <= LITERALS_MAX && literals.iter().all(|l| l.len() >= LITERAL_BYTES_MIN);
    fits.then_some(literals)
}

/// What every match begins or ends with.
fn at_the_end(hir: &Hir, kind: ExtractKind) -> Option<Vec<Vec<u8>>> {
    let seq: Seq = Extractor::new().kind(kind).limit_total(LITERALS_MAX).extract(hir);
    good(seq.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect())
}

/// What every match holds somewhere.
fn anywhere(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => good(vec![literal.0.to_vec()]),
        HirKind::Capture(capture) => anywhere(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => anywhere(&repetition.sub),
        HirKind::Concat(parts) => parts.iter().filter_map(anywhere).max_by_key(|literals| worth(literals)),
        HirKind::Alternation(parts) => {
            let each: Option<Vec<_>> = parts.iter().map(anywhere).collect();
            good(each?.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_regexes() {
        let cases: [(&str, Option<&[&str]>); 9] = [
            ("WORKER TIMEOUT", Some(&["WORKER TIMEOUT"])),
            (r"took \d+ms in (billing|orders)", Some(&["ms in billing", "ms in orders"])),
            (r"^\[\d+\] .* exceeded \d+", Some(&[" exceeded "])),
            ("(timeout|refused)$", Some(&["timeout", "refused"])),
            ("(?i)oom", Some(&["OOM", "OOm", "OoM", "Oom", "oOM", "oOm", "ooM", "oom"])),
            (r"\d+", None),
            ("a|timeout", None),
            ("(timeout)?", None),
            ("ab", None),
        ];
        for (pattern, want) in cases {
            let got = required(pattern);
            let got: Option<Vec<&str>> =
                got.as_ref().map(|l| l.iter().map(|b| std::str::from_utf8(b).unwrap()).collect());
            assert_eq!(got.as_deref(), want, "{pattern}");
        }
    }

    #[test]
    fn problems_are_one_line() {
        for (pattern, want) in [
            ("(a", "unclosed group, at character 1"),
            (r"a\Q", "unrecognized escape sequence, at character 2"),
            (r"\p{Foo}", "Unicode property not found, at character 1"),
        ] {
            assert_eq!(regex_problem(pattern).as_deref(), Some(want), "{pattern}");
        }
        assert_eq!(regex_problem("^a+$"), None);
    }
}
