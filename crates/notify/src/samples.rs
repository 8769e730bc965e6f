//! Notices for the tests of this crate's modules.

use dynowatch_domain::alert::NoticeKind;
use dynowatch_domain::delivery::Outgoing;
use dynowatch_domain::notice::Notice;
use dynowatch_domain::rule::Severity;
use dynowatch_domain::{AlertId, DeliveryId, Timestamp};

pub(crate) fn t(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// When it is sent.
pub(crate) fn now() -> Timestamp {
    t("2026-05-07T08:06:13Z")
}

pub(crate) fn notice() -> Notice {
    Notice {
        kind: NoticeKind::Firing,
        alert: Some(AlertId("019e0178-2a00-7000-8000-0000000000aa".parse().unwrap())),
        key: "h12/raxx-console-prod".into(),
        rule: "h12".into(),
        severity: Severity::Critical,
        app: "raxx-console-prod".into(),
        group: Vec::new(),
        meaning: "Requests ran over 30 s and were cut off.".into(),
        measured: "4 events".into(),
        threshold: "> 3".into(),
        window: "5m".into(),
        at: t("2026-05-07T08:06:12.25Z"),
        first_at: t("2026-05-07T08:04:01Z"),
        last_at: t("2026-05-07T08:06:12.25Z"),
        suppressed: 0,
        lower_bound: Vec::new(),
        evidence: vec![
            r#"2026-05-07T08:04:01Z heroku[router]: at=error code=H12 desc="Request timeout" path="/a?b=1&c=2""#.into(),
            r#"2026-05-07T08:06:12Z heroku[router]: at=error code=H12 desc="Request timeout""#.into(),
        ],
        release: "v42 by ada@example.org (Deploy 3f80dd3), 6 min before".into(),
        runbook: Some("docs/ops/runbooks/console-status-poller.md#failure-mode-h".into()),
        link: Some("https://watch.example.org/alerts/019e0178?tab=evidence&full=1".into()),
        resolved_at: None,
    }
}

pub(crate) fn outgoing(notice: Notice) -> Outgoing {
    Outgoing {
        id: DeliveryId("019e0178-2a00-7000-8000-000000000001".parse().unwrap()),
        receiver: "operator".into(),
        notice,
        possible_duplicate: false,
    }
}

/// By name: every kind of message, and what an attacker would write.
pub(crate) fn all() -> Vec<(&'static str, Outgoing)> {
    let resolved_at = Some(t("2026-05-07T08:20:00Z"));
    let still = Notice {
        kind: NoticeKind::StillFiring,
        suppressed: 17,
        lower_bound: vec!["blind 14:02-14:03".into()],
        ..notice()
    };
    let resolved = Notice { kind: NoticeKind::Resolved, resolved_at, ..notice() };
    let both = Notice { resolved_at, severity: Severity::Warning, ..notice() };
    let test =
        Notice { kind: NoticeKind::Test, alert: None, rule: "operator".into(), evidence: Vec::new(), ..notice() };
    let duplicate = Outgoing { possible_duplicate: true, ..outgoing(notice()) };
    vec![
        ("firing", outgoing(notice())),
        ("still_firing", outgoing(still)),
        ("resolved", outgoing(resolved)),
        ("fired_and_resolved", outgoing(both)),
        ("test", outgoing(test)),
        ("possible_duplicate", duplicate),
        ("hostile", outgoing(hostile())),
    ]
}

/// Every text tries something.
pub(crate) fn hostile() -> Notice {
    let evil = "<!channel> @here @Everyone <https://evil.example|log in> ``` *b* _i_ ~s~ :fire: ````\n==== forged\r\u{1b}[2J\u{202e}";
    Notice {
        group: vec![("path".into(), "/<!here>/*x*`".into())],
        app: "a&b".into(),
        release: "v1 by <@U1> `rm` \"_x_\"".into(),
        meaning: "two\nlines".into(),
        evidence: vec![evil.into(), "&<>`".repeat(150)],
        runbook: Some("https://ok.example/x|<!channel>".into()),
        ..notice()
    }
}
