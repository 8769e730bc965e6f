//! What people read: every kind of message as plain text.

use insta::assert_snapshot;

use super::*;

fn t(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn firing() -> Notice {
    Notice {
        kind: NoticeKind::Firing,
        alert: None,
        key: "h12/raxx-console-prod".into(),
        rule: "h12".into(),
        severity: Severity::Critical,
        app: "raxx-console-prod".into(),
        group: vec![],
        meaning: "Request timeout: no first byte within 30 s.".into(),
        measured: "4 events".into(),
        threshold: "> 3".into(),
        window: "5m".into(),
        at: t("2026-05-07T08:06:12.25Z"),
        first_at: t("2026-05-07T08:04:01Z"),
        last_at: t("2026-05-07T08:06:12.25Z"),
        suppressed: 0,
        lower_bound: vec![],
        evidence: vec![
            "2026-05-07T08:04:01Z heroku[router]: at=error code=H12 desc=\"Request timeout\" path=\"/orders?token=[masked]\"".into(),
            "2026-05-07T08:06:12.25Z heroku[router]: at=error code=H12 desc=\"Request timeout\" path=\"/\"".into(),
        ],
        release: "v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence".into(),
        runbook: Some("docs/ops/runbooks/console-status-poller.md#failure-mode-h".into()),
        link: Some("https://watch.example.com/alerts/1".into()),
        resolved_at: None,
    }
}

#[test]
fn a_firing_alert() {
    assert_snapshot!(firing().text(), @r#"
    [firing] h12 on raxx-console-prod
    Severity: critical
    Meaning: Request timeout: no first byte within 30 s.
    Condition: 4 events in 5m (threshold > 3)
    At: 2026-05-07 08:06:12 UTC
    Since: 2026-05-07 08:04:01 UTC
    Release: v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence
    Runbook: docs/ops/runbooks/console-status-poller.md#failure-mode-h
    Alert: https://watch.example.com/alerts/1
    > 2026-05-07T08:04:01Z heroku[router]: at=error code=H12 desc="Request timeout" path="/orders?token=[masked]"
    > 2026-05-07T08:06:12.25Z heroku[router]: at=error code=H12 desc="Request timeout" path="/"
    "#);
}

#[test]
fn a_firing_alert_that_knows_little() {
    let bare = Notice {
        meaning: String::new(),
        first_at: firing().at,
        evidence: vec![],
        release: "no release in the last 30 min".into(),
        runbook: None,
        link: None,
        ..firing()
    };
    assert_snapshot!(bare.text(), @r#"
    [firing] h12 on raxx-console-prod
    Severity: critical
    Condition: 4 events in 5m (threshold > 3)
    At: 2026-05-07 08:06:12 UTC
    Release: no release in the last 30 min
    "#);
}

#[test]
fn a_group_and_a_lower_bound() {
    let lossy = Notice {
        rule: "r14".into(),
        meaning: "Memory quota exceeded.".into(),
        severity: Severity::Warning,
        group: vec![("process_type".into(), "web".into())],
        measured: "at least 6 events".into(),
        lower_bound: vec![
            "blind 14:02:00-14:03:10 UTC (log_loss, 112 lines lost)".into(),
            "blind 14:04:00-14:04:02 UTC (refused)".into(),
        ],
        evidence: vec![],
        ..firing()
    };
    assert_snapshot!(lossy.text(), @r#"
    [firing] r14 on raxx-console-prod (web)
    Severity: warning
    Meaning: Memory quota exceeded.
    Condition: at least 6 events in 5m (threshold > 3)
    At: 2026-05-07 08:06:12 UTC
    Since: 2026-05-07 08:04:01 UTC
    Lower bound: blind 14:02:00-14:03:10 UTC (log_loss, 112 lines lost); blind 14:04:00-14:04:02 UTC (refused)
    Release: v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence
    Runbook: docs/ops/runbooks/console-status-poller.md#failure-mode-h
    Alert: https://watch.example.com/alerts/1
    "#);
}

#[test]
fn groups_in_words() {
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[], ""),
        (&[("process_type", "worker")], "worker"),
        (&[("dyno", "web.1")], "web.1"),
        (&[("path_prefix", "/orders"), ("status", "503")], "/orders, status 503"),
        (&[("code", "H12")], "H12"),
        (&[("dyno", "")], "dyno unknown"),
        (&[("group", "other")], "groups over the limit"),
    ];
    for (group, want) in cases {
        assert_eq!(group_in_words(group.iter().copied()), want, "{group:?}");
    }
}

#[test]
fn still_firing() {
    let still = Notice {
        kind: NoticeKind::StillFiring,
        measured: "30 events".into(),
        suppressed: 29,
        evidence: vec![],
        ..firing()
    };
    assert_snapshot!(still.text(), @r#"
    [still firing] h12 on raxx-console-prod
    Severity: critical
    Meaning: Request timeout: no first byte within 30 s.
    Condition: 30 events in 5m (threshold > 3)
    At: 2026-05-07 08:06:12 UTC
    Since: 2026-05-07 08:04:01 UTC
    Held back: 29 more matches since the last message
    Release: v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence
    Runbook: docs/ops/runbooks/console-status-poller.md#failure-mode-h
    Alert: https://watch.example.com/alerts/1
    "#);
}

#[test]
fn resolved() {
    let resolved = Notice {
        kind: NoticeKind::Resolved,
        resolved_at: Some(t("2026-05-07T08:16:12Z")),
        evidence: vec![],
        ..firing()
    };
    assert_snapshot!(resolved.text(), @r#"
    [resolved] h12 on raxx-console-prod
    Severity: critical
    Meaning: Request timeout: no first byte within 30 s.
    Condition: 4 events in 5m (threshold > 3)
    At: 2026-05-07 08:06:12 UTC
    Since: 2026-05-07 08:04:01 UTC
    Release: v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence
    Resolved: 2026-05-07 08:16:12 UTC
    Runbook: docs/ops/runbooks/console-status-poller.md#failure-mode-h
    Alert: https://watch.example.com/alerts/1
    "#);
}

/// Nobody could be told before it was over: one message says both.
#[test]
fn fired_and_resolved() {
    let both =
        Notice { resolved_at: Some(t("2026-05-07T08:16:12Z")), meaning: String::new(), evidence: vec![], ..firing() };
    assert_snapshot!(both.text(), @r#"
    [fired and resolved] h12 on raxx-console-prod
    Severity: critical
    Condition: 4 events in 5m (threshold > 3)
    At: 2026-05-07 08:06:12 UTC
    Since: 2026-05-07 08:04:01 UTC
    Release: v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence
    Resolved: 2026-05-07 08:16:12 UTC
    Runbook: docs/ops/runbooks/console-status-poller.md#failure-mode-h
    Alert: https://watch.example.com/alerts/1
    "#);
}

#[test]
fn a_share() {
    let share = Notice {
        rule: "5xx-share".into(),
        meaning: "More than one request in twenty fails.".into(),
        measured: "12 of 80 requests".into(),
        threshold: "> 5% of at least 50 requests".into(),
        evidence: vec![],
        ..firing()
    };
    assert_snapshot!(share.text(), @r#"
    [firing] 5xx-share on raxx-console-prod
    Severity: critical
    Meaning: More than one request in twenty fails.
    Condition: 12 of 80 requests in 5m (threshold > 5% of at least 50 requests)
    At: 2026-05-07 08:06:12 UTC
    Since: 2026-05-07 08:04:01 UTC
    Release: v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence
    Runbook: docs/ops/runbooks/console-status-poller.md#failure-mode-h
    Alert: https://watch.example.com/alerts/1
    "#);
}

#[test]
fn a_test_message() {
    let test = Notice { kind: NoticeKind::Test, rule: "operator".into(), evidence: vec![], ..firing() };
    assert_snapshot!(test.text(), @r#"
    [test] dynowatch reaches this receiver (operator)
    Sent: 2026-05-07 08:06:12 UTC, by hand; no alert is behind it
    "#);
}

/// No line is empty and none says "null" or "None" (S11).
#[test]
fn no_field_is_empty() {
    for notice in
        [firing(), Notice { runbook: None, link: None, release: String::new(), meaning: String::new(), ..firing() }]
    {
        for (name, value) in notice.facts() {
            assert!(
                !value.trim().is_empty() && !value.contains("null") && !value.contains("None"),
                "{name}: {value:?}"
            );
        }
    }
}
