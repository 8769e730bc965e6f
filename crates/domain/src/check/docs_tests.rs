//! docs/checks.md tells of every value and every reason, in the words of the code.

use super::kind::{
    DnsCheck, Family, PostgresCheck, PostgresRole, RecordType, RedisCheck, Secret, Source, TcpCheck, TlsCheck, TlsMode,
    WebCheck,
};
use super::{CheckKind, Reason, SubjectType};

const DOCS: &str = include_str!("../../../../docs/checks.md");

fn every_kind() -> Vec<CheckKind> {
    let url = || Source::Url(Secret::new("redis://h"));
    let (host, family, tls) = (|| "h".to_owned(), Family::Any, || TlsMode::Verify);
    let role = PostgresRole::Leader;
    vec![
        CheckKind::Web(WebCheck::get("https://h")),
        CheckKind::Redis(RedisCheck { url: url(), key: None, family, tls: tls() }),
        CheckKind::Postgres(PostgresCheck { url: url(), table: None, query: None, role, family, tls: tls() }),
        CheckKind::Tcp(TcpCheck { host: host(), port: 1, family }),
        CheckKind::Tls(TlsCheck { host: host(), port: 1, family, tls: tls() }),
        CheckKind::Dns(DnsCheck { name: host(), record: RecordType::A, server: None }),
    ]
}

#[track_caller]
fn check(line: &str) {
    assert!(DOCS.lines().any(|known| known == line), "docs/checks.md lacks the line\n{line}");
}

#[test]
fn every_value_is_told() {
    for kind in every_kind() {
        for subject in kind.subjects() {
            let word = match subject.kind {
                SubjectType::Number => "number",
                SubjectType::Percent => "percentage",
                SubjectType::Duration => "time",
                SubjectType::Text => "text",
                SubjectType::Bool => "true or false",
                SubjectType::Any => "any",
            };
            check(&format!("| `{}` | {word} | {} |", subject.name, subject.meaning));
        }
    }
}

#[test]
fn every_reason_is_told() {
    for reason in Reason::ALL {
        let outcome = if reason.is_misconfigured() { "misconfigured" } else { reason.outcome().name() };
        check(&format!("| `{}` | {outcome} | {} |", reason.name(), reason.sentence()));
    }
}

#[test]
fn every_example_reads() {
    let start = DOCS.find("```text").map(|at| at + "```text".len()).unwrap();
    let end = DOCS[start..].find("```").unwrap() + start;
    let mut count = 0;
    for line in DOCS[start..end].lines().filter(|line| !line.is_empty()) {
        let assertion: super::Assertion = line.parse().unwrap_or_else(|error| panic!("{error}"));
        assertion.fits(&every_kind()[0]).unwrap_or_else(|error| panic!("{error}"));
        count += 1;
    }
    assert_eq!(count, 3);
}
