//! Web checks: one request, its redirects if the check follows them, the whole answer within a cap. Owns the redirects
//! policy, what may go to which host, and the facts of an answer; one exchange over one connection is `exchange`'s.
//!
//! The check's headers, credentials and body go to the origin it names and to no other. Once a redirect has left it, they
//! stay behind, even if a further one leads back.

mod exchange;

use dynowatch_domain::check::kind::{Redirects, WebCheck};
use dynowatch_domain::check::target::{Target, UrlKind};
use dynowatch_domain::check::{Assertion, Reason, Secret, Value, json_path};
use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use crate::Prober;
use crate::trace::{Failure, Trace};
use exchange::{Answer, Question};

/// How much of a body a failure is told with; a line of the transcript keeps less.
const EXCERPT_BYTES_MAX: usize = 2_000;
/// What may go to any host.
const HARMLESS_HEADERS: [&str; 3] = ["accept", "accept-language", "user-agent"];

pub(crate) async fn run(
    prober: &Prober,
    check: &WebCheck,
    assertions: &[Assertion],
    target: Target,
    trace: &mut Trace,
) -> Result<(), Failure> {
    let mut hop = Hop { target, method: method(check)?, at_home: true };
    let mut followed = 0_u64;
    let answer = loop {
        let answer = exchange::run(prober, &hop.question(check), trace).await?;
        match hop.next(check, &answer, followed)? {
            None => break answer,
            Some(next) => {
                trace.note(format!("follows to {}", next.target.shown));
                trace.next_hop();
                hop = next;
                followed += 1;
            }
        }
    };
    trace.leave();
    trace.facts.set("redirects", followed);
    note_answer(&answer, &hop.target, trace);
    judge_status(check, assertions, answer.status, trace);
    if answer.is_cut {
        let detail = format!("the body goes on after {} bytes, where the check stops reading", answer.body.len());
        trace.find(Reason::ReplyTooLarge, detail);
    }
    for assertion in assertions {
        note_wanted(assertion, &answer, trace);
    }
    // Enough for a transcript's line, masking included.
    let excerpt = answer.body.get(..answer.body.len().min(EXCERPT_BYTES_MAX)).unwrap_or_default();
    trace.body = String::from_utf8_lossy(excerpt).into_owned();
    Ok(())
}

/// One request of a chain.
struct Hop {
    target: Target,
    method: Method,
    /// Whether the chain never left the origin of the check.
    at_home: bool,
}

impl Hop {
    fn question<'c>(&'c self, check: &'c WebCheck) -> Question<'c> {
        let named = check.headers.iter().map(|(name, value)| (name.as_str(), value));
        let headers =
            named.filter(|(name, _)| self.at_home || HARMLESS_HEADERS.iter().any(|h| h.eq_ignore_ascii_case(name)));
        // A redirect that turned the request into a GET left its body behind.
        let keeps_body = self.at_home && self.method.as_str() == check.method;
        Question {
            target: &self.target,
            method: &self.method,
            headers: headers.collect(),
            body: check.body.as_ref().filter(|_| keeps_body),
            credentials: self.at_home && (self.target.password.is_some() || !self.target.user.is_empty()),
            check,
        }
    }

    /// Where the answer sends us, if the check follows.
    fn next(&self, check: &WebCheck, answer: &Answer, followed: u64) -> Result<Option<Self>, Failure> {
        let is_redirect = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let (most, same_host) = match check.redirects {
            Redirects::Follow(most) => (most, false),
            Redirects::SameHost(most) => (most, true),
            Redirects::Refuse | Redirects::Expect(_) => return Ok(None),
        };
        if !is_redirect {
            return Ok(None);
        }
        if followed >= u64::from(most) {
            return Err(Failure::new(Reason::RedirectTooMany, format!("there is another redirect after {followed}")));
        }
        let target = self.locate(answer)?;
        let same = target.host == self.target.host && target.port == self.target.port && target.tls == self.target.tls;
        if same_host && !same {
            let detail = format!("the redirect leads from {} to {}", self.target.shown, target.shown);
            return Err(Failure::new(Reason::RedirectToOtherHost, detail));
        }
        let method = match (answer.status.as_u16(), &self.method) {
            (_, &Method::HEAD) => Method::HEAD,
            (303, _) | (301 | 302, &Method::POST) => Method::GET,
            (_, method) => method.clone(),
        };
        let at_home = self.at_home && same;
        if !at_home && self.at_home && check.body.is_some() && method.as_str() == check.method {
            let detail = format!("{} asks for the body to be sent to {}", self.target.shown, target.shown);
            return Err(Failure::new(Reason::RedirectToOtherHost, detail));
        }
        Ok(Some(Self { target, method, at_home }))
    }

    fn locate(&self, answer: &Answer) -> Result<Target, Failure> {
        let bad = |why: &str| Failure::new(Reason::BadReply, format!("status {}, and {why}", answer.status.as_u16()));
        let location = answer.headers.get(header::LOCATION).ok_or_else(|| bad("no Location header"))?;
        let location = location.to_str().map_err(|_| bad("a Location header that is not text"))?;
        let base = format!("{}{}", origin(&self.target), self.target.path_and_query.expose());
        let joined = Url::parse(&base).and_then(|base| base.join(location));
        let mut url = joined.map_err(|_| bad("a Location header that is no URL"))?;
        // Credentials that a server puts into a redirect are not ours.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(bad("a Location header that leads to no host"));
        }
        let target = Target::parse(&Secret::new(url.as_str()), UrlKind::Web)
            .map_err(|_| bad("a Location header that leads to no web address"))?;
        // On the way home the check's own credentials stay with it.
        let same = target.host == self.target.host && target.port == self.target.port && target.tls == self.target.tls;
        Ok(if same {
            Target { user: self.target.user.clone(), password: self.target.password.clone(), ..target }
        } else {
            target
        })
    }
}

/// Scheme, host and port.
fn origin(target: &Target) -> String {
    let scheme = if target.tls { "https" } else { "http" };
    format!("{scheme}://{}", exchange::authority(target))
}

fn method(check: &WebCheck) -> Result<Method, Failure> {
    Method::from_bytes(check.method.as_bytes())
        .map_err(|_| Failure::new(Reason::TargetInvalid, "the method is not one of HTTP"))
}

fn note_answer(answer: &Answer, target: &Target, trace: &mut Trace) {
    trace.facts.set("status", u64::from(answer.status.as_u16()));
    trace.facts.set("protocol", answer.protocol);
    trace.facts.set("url", target.shown.as_str());
    trace.facts.set("body_bytes", u64::try_from(answer.body.len()).unwrap_or(u64::MAX));
}

/// Without an assertion on it, a status must be 2xx, or the redirect that is expected.
fn judge_status(check: &WebCheck, assertions: &[Assertion], status: StatusCode, trace: &mut Trace) {
    if let Redirects::Expect(wanted) = check.redirects {
        if status.as_u16() != wanted {
            trace.find(
                Reason::StatusUnexpected,
                format!("status {}, where the redirect {wanted} is expected", status.as_u16()),
            );
        }
        return;
    }
    if assertions.iter().any(|assertion| assertion.subject().root == "status") {
        return;
    }
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        let detail = format!("status {}: the check follows no redirects", status.as_u16());
        trace.find(Reason::RedirectUnexpected, detail);
    } else if !status.is_success() {
        trace.find(Reason::StatusUnexpected, format!("status {}, where 2xx is expected", status.as_u16()));
    }
}

/// Notes the value that an assertion speaks of.
fn note_wanted(assertion: &Assertion, answer: &Answer, trace: &mut Trace) {
    let subject = assertion.subject();
    let value = match subject.root.as_str() {
        "header" => match subject.steps.first() {
            Some(json_path::Step::Key(name)) => header_value(&answer.headers, name),
            _ => return,
        },
        "body" => match body_text(answer) {
            Err(absent) => absent,
            Ok(text) if subject.steps.is_empty() => Value::Text(text.to_owned()),
            Ok(text) => json_path::find(text, &subject.steps, &subject.name),
        },
        _ => return,
    };
    trace.facts.set(subject.name.clone(), value);
}

/// Several of one name are joined, as HTTP says they may be.
fn header_value(headers: &HeaderMap, name: &str) -> Value {
    let name = name.to_ascii_lowercase();
    let values: Vec<_> =
        headers.get_all(name.as_str()).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    if values.is_empty() {
        return Value::absent(Reason::HeaderMissing, format!("the answer has no header {name}"));
    }
    Value::Text(values.join(", "))
}

fn body_text(answer: &Answer) -> Result<&str, Value> {
    if answer.is_cut {
        return Err(Value::absent(Reason::ReplyTooLarge, "only a part of the body was read"));
    }
    let encoding = answer.headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let encoding = String::from_utf8_lossy(encoding.unwrap_or_default()).into_owned();
        return Err(Value::absent(
            Reason::BodyNotText,
            format!("the body is encoded ({encoding}), which was not asked for"),
        ));
    }
    std::str::from_utf8(&answer.body).map_err(|_| Value::absent(Reason::BodyNotText, "the body is not UTF-8 text"))
}
