//! What all of them share: a prober that may reach loopback, and short ways to write a check and to judge a run.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::address::AddressPolicy;
use dynowatch_domain::check::kind::WebCheck;
use dynowatch_domain::check::{Check, CheckKind, Memory, Outcome, Reason, Secret};
use dynowatch_probe::certificate::Roots;
use dynowatch_probe::{Explanation, Lookup, Prober, Request, Run, Surroundings};
use dynowatch_testkit::certificates::Authority;

/// The moment at which all runs take place.
pub(crate) fn now() -> Timestamp {
    Timestamp::parse("2026-11-21T12:00:00Z").unwrap()
}

pub(crate) fn days(count: i64) -> Timestamp {
    Timestamp::from_micros(now().as_micros() + count * 86_400_000_000)
}

/// A look-up that knows only what it is told.
pub(crate) fn names(known: &[(&str, &[&str])]) -> Lookup {
    let known: Vec<(String, Vec<IpAddr>)> = known
        .iter()
        .map(|(name, addresses)| ((*name).to_owned(), addresses.iter().map(|text| text.parse().unwrap()).collect()))
        .collect();
    let known = Arc::new(known);
    Arc::new(move |host| {
        let known = Arc::clone(&known);
        Box::pin(async move {
            let found = known.iter().find(|(name, _)| *name == host).map(|(_, addresses)| addresses.clone());
            found.ok_or_else(|| std::io::Error::other("Name or service not known"))
        })
    })
}

/// Every name of a check is this machine.
pub(crate) fn at_home() -> Lookup {
    Arc::new(|_| Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) }))
}

/// Loopback is allowed, and these authorities are the public roots.
pub(crate) fn prober(roots: &[&Authority]) -> Prober {
    prober_with(AddressPolicy::allowing(vec!["127.0.0.0/8".parse().unwrap()]), roots, at_home())
}

pub(crate) fn prober_with(policy: AddressPolicy, roots: &[&Authority], lookup: Lookup) -> Prober {
    let roots: Vec<_> = roots.iter().map(|root| root.der()).collect();
    Prober::new(Surroundings { policy, roots: Roots::from_der(&roots), lookup, nameserver: None })
}

pub(crate) fn check(kind: CheckKind, assertions: &[&str]) -> Check {
    let mut check = Check::new("c", kind);
    check.timeout = Duration::from_secs(10);
    check.assertions = assertions.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{error}"))).collect();
    let problems = check.problems();
    assert!(problems.is_empty(), "{problems:?}");
    check
}

pub(crate) fn web(url: &str, assertions: &[&str]) -> Check {
    check(CheckKind::Web(WebCheck::get(url)), assertions)
}

/// A web check with changes.
pub(crate) fn web_with(url: &str, assertions: &[&str], change: impl FnOnce(&mut WebCheck)) -> Check {
    let mut web = WebCheck::get(url);
    change(&mut web);
    check(CheckKind::Web(web), assertions)
}

pub(crate) async fn run(prober: &Prober, check: &Check) -> Run {
    run_after(prober, check, &Memory::default()).await
}

pub(crate) async fn run_after(prober: &Prober, check: &Check, memory: &Memory) -> Run {
    let run = prober.run(&Request { check, url: None, memory, now: now() }).await;
    assert_sound(&run);
    run
}

pub(crate) async fn explain(prober: &Prober, check: &Check) -> Explanation {
    prober.explain(&Request { check, url: None, memory: &Memory::default(), now: now() }).await
}

/// What holds of every run.
fn assert_sound(run: &Run) {
    let found = &run.observation;
    assert_eq!(found.outcome, found.reason.map_or(Outcome::Up, Reason::outcome));
    let parts: u64 = found.phases.parts().iter().map(|(_, micros)| micros).sum();
    assert!(parts <= found.phases.total_us, "{:?}", found.phases);
}

/// The reason, with everything that was told in the error.
#[track_caller]
pub(crate) fn assert_reason(run: &Run, want: Reason, detail: &str) {
    let found = &run.observation;
    assert_eq!(found.reason, Some(want), "{}\n{}", found.detail, run.transcript);
    assert!(found.detail.contains(detail), "{:?} has no {detail:?}\n{}", found.detail, run.transcript);
}

#[track_caller]
pub(crate) fn assert_up(run: &Run) {
    assert_eq!(run.observation.outcome, Outcome::Up, "{}\n{}", run.observation.detail, run.transcript);
}

/// The value of a fact as an assertion shows it.
pub(crate) fn fact(run: &Run, name: &str) -> String {
    run.observation.facts.get(name).map_or_else(|| "nothing".to_owned(), |fact| fact.value.to_string())
}

/// No piece of a run may hold a secret, however it is spelt.
#[track_caller]
pub(crate) fn assert_hidden(run: &Run, secrets: &[&str]) {
    let everything = format!(
        "{run:?}\n{}\n{}\n{}",
        run.transcript,
        serde_json::to_string(&run.observation).unwrap(),
        serde_json::to_string(&run.memory).unwrap()
    );
    for secret in secrets {
        assert!(!everything.contains(secret), "{secret} is told:\n{everything}");
    }
}

pub(crate) fn secret(text: impl Into<String>) -> Secret {
    Secret::new(text)
}
