//! Checks in words: how one stands, why, what comes next, what it looks at. The list, the page of a check and the pages that
//! only mention checks say the same through here.

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::kind::HerokuTarget;
use dynowatch_domain::check::maintenance::{MaintenanceWindow, Span};
use dynowatch_domain::check::outcome::{Outcome, Reason};
use dynowatch_domain::check::state::Shown;
use dynowatch_domain::check::target::{Target, UrlKind};
use dynowatch_domain::check::uptime::Standing;
use dynowatch_domain::check::{Check, CheckKind, Observation, Source};
use dynowatch_domain::parse::show_duration;
use dynowatch_engine::checks::CheckStatus;
use maud::{Markup, html};

use super::super::parts::{State, glyph, prose};
use super::super::view::View;
use crate::show::visible;

/// Letters of a reason that a row of a list shows.
const DETAIL_CHARS_MAX: usize = 160;

/// What people see of a check. That it was paused a moment ago is known before the one who runs it has heard of it.
pub(crate) fn shown(status: &CheckStatus) -> Shown {
    let row = status.row.as_ref();
    if status.check.paused || row.is_some_and(|row| row.paused.is_some()) {
        return Shown::Paused;
    }
    row.map_or(Shown::New, |row| row.shown)
}

/// The shape and colour of a state; its word stands beside it.
pub(crate) fn state_of(shown: Shown) -> State {
    match shown {
        Shown::Up => State::Up,
        Shown::Down => State::Down,
        Shown::Degraded | Shown::Suspect | Shown::Recovering | Shown::Misconfigured => State::Degraded,
        Shown::Flapping => State::Flapping,
        Shown::Maintenance | Shown::Paused => State::Maintenance,
        Shown::New | Shown::Unknown | Shown::Blind => State::Unknown,
    }
}

/// A state as shape, word and colour.
pub(crate) fn state(shown: Shown) -> Markup {
    super::super::parts::state(state_of(shown), shown.as_str())
}

/// A state behind "is".
pub(crate) fn being(shown: Shown) -> &'static str {
    match shown {
        Shown::Maintenance => "in maintenance",
        Shown::New => "not known yet",
        Shown::Unknown => "not known",
        Shown::Blind => "not seen: this instance is blind",
        other => other.as_str(),
    }
}

/// What comes first in a list: the lower, the more it needs somebody.
pub(crate) fn urgency(shown: Shown) -> u8 {
    let order = [
        Shown::Down,
        Shown::Flapping,
        Shown::Recovering,
        Shown::Suspect,
        Shown::Misconfigured,
        Shown::Degraded,
        Shown::Blind,
        Shown::Unknown,
        Shown::New,
        Shown::Maintenance,
        Shown::Paused,
        Shown::Up,
    ];
    order.iter().position(|one| *one == shown).and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
}

/// Whether nobody needs to look at it.
pub(crate) fn is_calm(shown: Shown) -> bool {
    matches!(shown, Shown::Up | Shown::New | Shown::Maintenance | Shown::Paused)
}

/// How a time of a check looks on a strip.
pub(crate) fn of_standing(standing: Standing) -> State {
    match standing {
        Standing::Up => State::Up,
        Standing::Degraded => State::Degraded,
        Standing::Down => State::Down,
        Standing::Unknown => State::Unknown,
        Standing::Maintenance | Standing::Paused => State::Maintenance,
    }
}

/// How one run ended.
pub(crate) fn of_outcome(outcome: Outcome) -> State {
    match outcome {
        Outcome::Up => State::Up,
        Outcome::Degraded => State::Degraded,
        Outcome::Down => State::Down,
        Outcome::Unknown => State::Unknown,
    }
}

/// The maintenance window that is open for a check, and until when.
pub(crate) fn open_window(
    windows: &[MaintenanceWindow],
    check: &Check,
    now: Timestamp,
) -> Option<(MaintenanceWindow, Span)> {
    let mine = windows.iter().filter(|window| window.is_for(&check.name, check.app.as_deref()));
    mine.filter_map(|window| Some((window.clone(), window.open_at(now)?))).max_by_key(|(_, span)| span.until)
}

/// Why a check stands as it does, in a line: for lists.
pub(crate) fn why(view: &View, status: &CheckStatus) -> String {
    let (check, row) = (&status.check, status.row.as_ref());
    match shown(status) {
        Shown::Paused => match row.and_then(|row| row.paused.as_ref()) {
            Some(paused) => format!("Paused by {}.", visible(&paused.by)),
            None => "Paused by its configuration.".to_owned(),
        },
        Shown::Maintenance => match open_window(&view.web.engine.check_book().windows, check, view.now) {
            Some((window, span)) => {
                format!("Window {} until {}.", visible(&window.name), view.look.zone.short(span.until))
            }
            None => "A maintenance window was open at its last look.".to_owned(),
        },
        Shown::New => match check.kind {
            CheckKind::Heartbeat(_) => "No ping has come yet.".to_owned(),
            _ => "Its first run is still to come.".to_owned(),
        },
        _ => row.and_then(|row| row.last.as_ref()).map_or_else(String::new, |last| found(view, last)),
    }
}

/// What a run found, in a line; nothing of one that is simply up.
pub(crate) fn found(view: &View, last: &Observation) -> String {
    let Some(reason) = last.reason else {
        return last.notes.iter().map(|note| note.sentence()).collect::<Vec<_>>().join(" ");
    };
    let detail = view.outside(&last.detail);
    if detail.is_empty() || detail == reason.sentence() {
        return reason.sentence().to_owned();
    }
    // What nobody could measure says why itself.
    let sentence = if reason == Reason::NotMeasured { "" } else { reason.sentence() };
    let cut: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
    let dots = if cut.len() < detail.len() { "…" } else { "" };
    format!("{sentence} {cut}{dots}").trim_start().to_owned()
}

/// What becomes of it, and what may be done now.
pub(crate) fn next(check: &Check, shown: Shown, undecided: u32, reason: Option<Reason>) -> Vec<String> {
    let thresholds = &check.thresholds;
    let runs = |n: u32, of: &str| if n == 1 { format!("one {of} run") } else { format!("{n} {of} runs in a row") };
    let fails = match thresholds.failing_for {
        Some(time) => format!("{}, or failing for {}", runs(thresholds.failures, "failed"), show_duration(time)),
        None => runs(thresholds.failures, "failed"),
    };
    let recovers = match thresholds.recovering_for {
        Some(time) => format!("{} over at least {}", runs(thresholds.recoveries, "good"), show_duration(time)),
        None => runs(thresholds.recoveries, "good"),
    };
    let first = match shown {
        Shown::Suspect => format!(
            "It is called down after {fails}; {} so far. Until then it runs every {}.",
            undecided,
            show_duration(check.suspect_interval())
        ),
        Shown::Down => format!("It is called up again after {recovers}; then its alert resolves by itself."),
        Shown::Recovering => format!("It is called up again after {recovers}; {undecided} so far."),
        Shown::Flapping => match thresholds.flapping {
            Some(flapping) => format!(
                "Nothing more is told until it has been one or the other for {}.",
                show_duration(flapping.quiet)
            ),
            None => "Nothing more is told until it settles.".to_owned(),
        },
        Shown::Misconfigured => {
            "The check must be changed before it can say anything of its target. Nobody is paged for it.".to_owned()
        }
        Shown::Degraded if thresholds.tell_degraded => {
            "It works, but not as it should; its receivers are told.".to_owned()
        }
        Shown::Degraded => "It works, but not as it should. Nobody is told: `tell_degraded` is off.".to_owned(),
        Shown::Unknown => "Nothing is said of the target: neither up nor down.".to_owned(),
        Shown::Blind => {
            "Our own way out is broken, so no target is called down. It goes on when a control target answers."
                .to_owned()
        }
        Shown::Maintenance => {
            "It runs on and is recorded; nobody is told. What still fails after the window is told then.".to_owned()
        }
        Shown::Paused => "It does not run until it is resumed; this time counts as not observed.".to_owned(),
        Shown::New | Shown::Up => String::new(),
    };
    let second = reason.filter(|_| !matches!(shown, Shown::Up | Shown::Paused)).map_or("", advice);
    [first, second.to_owned()].into_iter().filter(|text| !text.is_empty()).collect()
}

/// What to look at first.
fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::DnsNotFound | Reason::DnsNoRecords => "Look at the DNS records of the host: `dig HOST`.",
        Reason::AddressRefused => {
            "Allow-list the range if the target is meant to be private: `prober.allow_networks` in the configuration file."
        }
        Reason::ConnectRefused | Reason::Unreachable => {
            "Nothing answers there: look at the app's dynos and its routing, then at the port."
        }
        Reason::CertificateExpired
        | Reason::CertificateWrongName
        | Reason::CertificateUntrusted
        | Reason::CertificateNotYetValid => "Look at the certificate below; at Heroku: `heroku certs:auto -a APP`.",
        Reason::PinChanged => {
            "If the server's key was rotated on purpose, accept the new one below. No password was sent to it."
        }
        Reason::AuthFailed | Reason::AuthRequired => {
            "The credentials may have been rotated. A check that takes its URL from a config var follows by itself."
        }
        Reason::MaxClients | Reason::TooManyConnections => {
            "Something holds too many connections: look for it before you restart."
        }
        Reason::NoPermission | Reason::CannotSeeSchema => {
            "Give the check's user the right it needs; docs/checks.md lists the least."
        }
        Reason::HeartbeatMissed | Reason::HeartbeatUnfinished => {
            "Look at the scheduler that starts the job, then at the job's own log."
        }
        Reason::DynosCrashed | Reason::DynosMissing => {
            "Look at the app's newest release and its log: `heroku ps -a APP`."
        }
        Reason::MaintenanceMode => "`heroku maintenance:off -a APP` ends it.",
        Reason::TargetMissing | Reason::TargetInvalid => "Look at the config var that the check names.",
        _ => "",
    }
}

/// What it looks at; never a credential.
pub(crate) fn target(view: &View, check: &Check) -> String {
    let url_kind = match check.kind {
        CheckKind::Redis(_) => UrlKind::Redis,
        CheckKind::Postgres(_) => UrlKind::Postgres,
        _ => UrlKind::Web,
    };
    if let Some(source) = check.kind.source() {
        return match source {
            Source::Url(url) => Target::parse(url, url_kind)
                .map_or_else(|_| "a URL that cannot be read".to_owned(), |target| view.outside(&target.shown)),
            Source::ConfigVar { app, name } => format!("{} of {}", visible(name), visible(app)),
        };
    }
    match &check.kind {
        CheckKind::Tcp(tcp) => format!("{}:{}", visible(&tcp.host), tcp.port),
        CheckKind::Tls(tls) => format!("{}:{}", visible(&tls.host), tls.port),
        CheckKind::Dns(dns) => format!("{} {}", dns.record.name(), visible(&dns.name)),
        CheckKind::Heartbeat(heartbeat) => heartbeat.expected.to_string(),
        CheckKind::Heroku(heroku) => match &heroku.target {
            HerokuTarget::Dynos { process_type } => {
                format!("{} dynos of {}", visible(process_type), visible(&heroku.app))
            }
            HerokuTarget::Release => format!("newest release of {}", visible(&heroku.app)),
            HerokuTarget::Maintenance => format!("maintenance mode of {}", visible(&heroku.app)),
        },
        _ => String::new(),
    }
}

/// Microseconds as people write them: `42 ms`, `0.8 ms`, `1.42 s`.
pub(crate) fn took(micros: u64) -> String {
    match micros {
        0..=9_999 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..=999_999 => format!("{} ms", micros / 1_000),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

/// Checks that need somebody, each a link: for pages about other things.
pub(crate) fn links(view: &View, statuses: &[&CheckStatus]) -> Markup {
    html! {
        ul.open-alerts {
            @for status in statuses {
                @let shown = shown(status);
                li {
                    (state(shown)) " "
                    a href={ "/checks/" (super::super::palette::encoded(&status.check.name)) } { (visible(&status.check.name)) }
                    @if let Some(since) = status.row.as_ref().and_then(|row| row.state.since()) { " " span.quiet { (view.ago(since)) } }
                }
            }
        }
    }
}

/// Sentences with what is typed set off.
pub(crate) fn sentences(all: &[String]) -> Markup {
    html! { @for one in all { p.meaning { (prose(one)) } } }
}

/// That this instance sees nothing, above everything else.
pub(crate) fn blind(view: &View) -> Markup {
    html! {
        @if let Some(since) = view.web.engine.blind_since() {
            div.stale role="status" {
                (glyph(State::Unknown))
                p { strong { "This instance is blind since " (view.moment_ago(since)) "." } " None of its control targets answers, so its own way out is broken: what checks find is not believed, and nothing is called down." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynowatch_domain::check::kind::WebCheck;

    #[test]
    fn worst_first() {
        let mut all = Shown::ALL;
        all.sort_by_key(|shown| urgency(*shown));
        assert_eq!((all[0], all[11]), (Shown::Down, Shown::Up));
        let mut places: Vec<u8> = Shown::ALL.iter().map(|shown| urgency(*shown)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), Shown::ALL.len());
    }

    #[test]
    fn times_have_the_digits_that_count() {
        for (micros, want) in
            [(0, "0.0 ms"), (842, "0.8 ms"), (9_999, "9.9 ms"), (42_900, "42 ms"), (1_426_000, "1.42 s")]
        {
            assert_eq!(took(micros), want);
        }
    }

    #[test]
    fn what_comes_next_names_the_thresholds() {
        let mut check = Check::new("home", CheckKind::Web(WebCheck::get("https://shop.example")));
        check.thresholds.failing_for = Some(std::time::Duration::from_secs(300));
        let said = next(&check, Shown::Suspect, 1, Some(Reason::ConnectRefused));
        assert_eq!(
            said[0],
            "It is called down after 2 failed runs in a row, or failing for 5m; 1 so far. Until then it runs every 1m."
        );
        assert!(said[1].contains("dynos"), "{said:?}");
        assert_eq!(next(&check, Shown::Up, 0, None), Vec::<String>::new());
    }
}
