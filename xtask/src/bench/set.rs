//! A set of the workload as read from disk: requests ready to send, and the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::SECRET;
use super::counters::Expected;

const PATH: &str = "/api/internal/heroku-log-drain";

/// Bodies, requests and expectations of one set.
pub(crate) struct Set {
    pub(crate) name: String,
    bodies: Vec<u8>,
    requests: Vec<Request>,
    /// Drain token to app.
    tokens: BTreeMap<String, String>,
    pub(crate) expected: Expected,
}

/// A request around its Frame-Id, which is new for every send: a repeated one may rightly be skipped.
pub(crate) struct Request {
    head: Vec<u8>,
    after_frame_id: Vec<u8>,
    body: Range<usize>,
    pub(crate) lines: u64,
    /// Whether a rule counts a line of it. A workload that does not say so counts as unmatched.
    pub(crate) matches: bool,
}

impl Set {
    /// Reads the folder of a set: ours, or the referee's, which has no seventh column.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let bodies = read("bodies.bin")?;
        let index = String::from_utf8(read("index.tsv")?)?;
        let mut tokens = BTreeMap::new();
        let requests = index
            .lines()
            .enumerate()
            .map(|(number, row)| {
                Request::parse(row, bodies.len(), &mut tokens).with_context(|| format!("index.tsv line {}", number + 1))
            })
            .collect::<Result<Vec<_>>>()?;
        ensure!(!requests.is_empty(), "{} holds no bodies", folder.display());
        let expected = Expected::parse(&read("expected.json")?, &bodies)?;
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Set { name, bodies, requests, tokens, expected })
    }

    /// Requests of one pass.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Lines of one pass.
    pub(crate) fn lines(&self) -> u64 {
        self.requests.iter().map(|request| request.lines).sum()
    }

    /// The `number`th request of endless passes.
    pub(crate) fn request(&self, number: usize) -> &Request {
        &self.requests[number % self.requests.len()]
    }

    /// The parts of a request, to be written one after the other around the Frame-Id.
    pub(crate) fn parts<'a>(&'a self, request: &'a Request) -> (&'a [u8], &'a [u8], &'a [u8]) {
        (&request.head, &request.after_frame_id, &self.bodies[request.body.clone()])
    }
}

impl Request {
    fn parse(row: &str, bodies_len: usize, tokens: &mut BTreeMap<String, String>) -> Result<Self> {
        let field: Vec<&str> = row.split('\t').collect();
        ensure!(field.len() >= 6, "want 6 or 7 columns, found {}", field.len());
        let (offset, length): (usize, usize) = (field[0].parse()?, field[1].parse()?);
        let end = offset.checked_add(length).filter(|end| *end <= bodies_len);
        let (msg_count, token) = (field[2], field[4]);
        tokens.insert(token.to_owned(), field[5].to_owned());
        let mac = drain_mac(token)?;
        Ok(Request {
            head: format!(
                "POST {PATH}?drain_token={mac} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/logplex-1\r\n\
                 Logplex-Msg-Count: {msg_count}\r\nLogplex-Frame-Id: "
            )
            .into_bytes(),
            after_frame_id: format!(
                "\r\nLogplex-Drain-Token: {token}\r\nUser-Agent: Logplex/v72\r\nContent-Length: {length}\r\n\r\n"
            )
            .into_bytes(),
            body: offset..end.context("a body ends behind the end of bodies.bin")?,
            lines: msg_count.parse()?,
            matches: field.get(6) == Some(&"1"),
        })
    }
}

/// What the drain's URL carries: hex HMAC-SHA256 of the drain token, or of `app:NAME`.
pub(crate) fn drain_mac(token: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    mac.update(token.as_bytes());
    Ok(HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// The configuration file of a measured instance: every app of the sets with all its tokens, and the runbook's rules.
pub(crate) fn configuration(sets: &[Arc<Set>]) -> String {
    let mut apps: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (token, app) in sets.iter().flat_map(|set| &set.tokens) {
        apps.entry(app).or_default().insert(token);
    }
    let mut toml = String::from("[drain]\nenabled = true\n");
    for (app, tokens) in apps {
        let tokens: Vec<String> = tokens.iter().map(|token| format!("\"{token}\"")).collect();
        toml.push_str(&format!("\n[[apps]]\nname = \"{app}\"\ndrain_tokens = [{}]\n", tokens.join(", ")));
    }
    toml.push_str(RULES);
    toml
}

const RULES: &str = r#"
[[rules]]
name = "h12"
match = { code = "H12" }
count = "> 3"
window = "5m"
cooldown = "5m"

[[rules]]
name = "worker-timeout"
match = { source = "app", text = "WORKER TIMEOUT" }
count = "> 2"
window = "2m"
cooldown = "5m"
"#;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const BODY: &str = "62 <158>1 1970-01-01T00:00:00+00:00 host heroku router - at=info\n";

    /// A set of two bodies of one line each, for this module's tests and the client's.
    pub(crate) fn two_requests() -> Set {
        let mut tokens = BTreeMap::new();
        let length = BODY.len();
        let rows = [format!("0\t{length}\t1\tAA\td.one\tshop\t1"), format!("{length}\t{length}\t1\tBB\td.two\tapi")];
        let requests = rows.iter().map(|row| Request::parse(row, 2 * length, &mut tokens).unwrap()).collect();
        Set { name: "b1".into(), bodies: BODY.repeat(2).into_bytes(), requests, tokens, expected: Expected::default() }
    }

    #[test]
    fn a_request_is_what_logplex_would_send() {
        let set = two_requests();
        let (head, after, body) = set.parts(set.request(3));
        let text = format!("{}CAFE{}", String::from_utf8_lossy(head), String::from_utf8_lossy(after));
        let want = "POST /api/internal/heroku-log-drain?drain_token=";
        assert!(text.starts_with(want) && text[want.len() + 64..].starts_with(" HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("\r\nLogplex-Msg-Count: 1\r\nLogplex-Frame-Id: CAFE\r\nLogplex-Drain-Token: d.two\r\n"));
        assert!(text.ends_with(&format!("\r\nContent-Length: {}\r\n\r\n", BODY.len())));
        assert_eq!(body, BODY.as_bytes());
        assert!(set.request(0).matches && !set.request(1).matches);
    }

    /// The vector of the runbook's formula, with this bench's secret in place of its own.
    #[test]
    fn the_mac_is_hex_hmac_sha256() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"drain-secret").unwrap();
        mac.update(b"d.01234567-89ab-4cde-8f01-23456789abcd");
        assert_eq!(
            HEXLOWER.encode(&mac.finalize().into_bytes()),
            "d7969b5f4a6f1b008e61a562cac0b6ef4d0a1309b7c1656a06969ef2871e5db1"
        );
        assert_eq!(drain_mac("d.one").unwrap().len(), 64);
    }

    #[test]
    fn broken_rows_are_named() {
        let check = |row: &str, want: &str| {
            let error = Request::parse(row, 10, &mut BTreeMap::new()).err().unwrap();
            assert_eq!(error.to_string(), want);
        };
        check("1\t2\t3", "want 6 or 7 columns, found 3");
        check("5\t6\t1\tAA\td.x\tapp", "a body ends behind the end of bodies.bin");
    }

    #[test]
    fn the_configuration_names_every_app_once() {
        let set = Arc::new(two_requests());
        let toml = configuration(&[Arc::clone(&set), set]);
        assert_eq!(toml.matches("[[apps]]").count(), 2);
        assert!(toml.contains("name = \"api\"\ndrain_tokens = [\"d.two\"]\n"));
        assert!(toml.ends_with(RULES));
    }
}
