//! One run in full: what it found, what each assertion saw, how long its phases took, who answered, which certificate, and
//! what it did, line by line. For failures that are kept and for a run that somebody asked to have explained.

use dynowatch_domain::check::Observation;
use dynowatch_domain::check::observation::{ChainFacts, Phase};
use maud::{Markup, html};

use super::super::parts::{State, state};
use super::super::view::View;
use super::words::{of_outcome, took};

/// What each assertion saw.
pub(super) fn assertions(view: &View, found: &Observation) -> Markup {
    html! {
        @if !found.assertions.is_empty() {
            table.data.assertions {
                thead { tr { th scope="col" { "Assertion" } th scope="col" { "Saw" } th scope="col" { "Holds" } } }
                tbody {
                    @for result in &found.assertions {
                        tr {
                            th scope="row" { code { (view.outside(&result.text)) } }
                            td.said { (view.outside(&result.seen)) }
                            td { @if result.reason.is_none() { (state(State::Up, "yes")) } @else { (state(of_outcome(result.outcome), "no")) } }
                        }
                    }
                }
            }
        }
    }
}

/// Everything that a run found.
pub(super) fn found(view: &View, found: &Observation) -> Markup {
    html! {
        @if let Some(reason) = found.reason {
            p { strong { (reason.sentence()) } " " code { (reason.name()) } @if let Some(phase) = found.failed_phase { " in " (phase_words(phase)) } }
            @if !found.detail.is_empty() && found.detail != reason.sentence() { p.said { (view.outside(&found.detail)) } }
        }
        (assertions(view, found))
        dl.facts {
            @let parts = found.phases.parts();
            @if found.phases.total_us > 0 {
                dt { "Took" }
                dd { (took(found.phases.total_us)) @if !parts.is_empty() { ": " @for (i, (phase, micros)) in parts.iter().enumerate() { @if i > 0 { ", " } (phase_words(*phase)) " " (took(*micros)) } } }
            }
            @if let Some(peer) = &found.peer {
                dt { "Server" }
                dd { (peer.address) " (" (peer.family()) @if !peer.protocol.is_empty() { ", " (view.outside(&peer.protocol)) } @if !peer.tls.is_empty() { ", " (view.outside(&peer.tls)) } ")" }
            }
            @for fact in found.facts.iter() {
                dt { (view.outside(&fact.name)) }
                dd.said { (view.outside(&fact.value.to_string())) @if !fact.note.is_empty() { " " span.quiet { (view.outside(&fact.note)) } } }
            }
        }
        @if let Some(chain) = &found.certificate { (certificate(view, chain)) }
        @for note in &found.notes { p.quiet { (note.sentence()) } }
    }
}

fn certificate(view: &View, chain: &ChainFacts) -> Markup {
    html! {
        h3 { "Certificate, judged by " (view.outside(&chain.mode)) }
        @if !chain.problem.is_empty() { p.said { (view.outside(&chain.problem)) } }
        table.data {
            thead { tr { th scope="col" { "Subject" } th.wide scope="col" { "Signed by" } th scope="col" { "Until" } } }
            tbody {
                @for (place, one) in chain.presented.iter().enumerate() {
                    tr {
                        th.said scope="row" { (view.outside(&one.subject)) @if chain.verified_path.contains(&place) { " " span.tag.up { "verified" } } }
                        td.said.wide { (view.outside(&one.issuer)) }
                        td { (view.moment(one.not_after)) }
                    }
                }
            }
        }
        @if let Some(ends) = chain.expires_at { p.quiet { "What was accepted holds until " (view.moment(ends)) "." } }
    }
}

/// What a run did, line by line.
pub(super) fn transcript(view: &View, text: &str) -> Markup {
    html! { @if !text.trim().is_empty() { pre.transcript tabindex="0" aria-label="What happened, line by line" { (lines(view, text)) } } }
}

/// Text of several lines, each masked and made harmless by itself.
fn lines(view: &View, text: &str) -> String {
    text.trim_end().lines().map(|line| view.outside(line)).collect::<Vec<_>>().join("\n")
}

fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "DNS",
        Phase::Connect => "connect",
        Phase::Tls => "TLS",
        Phase::FirstByte => "first byte",
        Phase::Body => "transfer",
    }
}
