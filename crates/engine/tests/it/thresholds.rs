//! Rules on metrics, from the lines of a drain to the message: limits, `for`, bands, gaps, restarts and processes.

use dynowatch_domain::mask::Masker;
use dynowatch_domain::rule::{Condition, GroupBy, MatchSpec, Rule};
use dynowatch_domain::rule_pack;
use dynowatch_domain::threshold::{NoData, Threshold};
use dynowatch_engine::replay::Replay;
use dynowatch_engine::{Engine, EngineOptions, Limits, Taken};
use dynowatch_logplex::Format;
use dynowatch_store::alerts::AlertState;

use crate::harness::{On, Stage, Told, app_line, at, frame, offset, request, seconds};

fn of(name: &str, threshold: Threshold) -> Rule {
    Rule {
        receivers: vec!["operator".into()],
        resolve_after: seconds(30),
        cooldown: seconds(3_600),
        send_resolved: true,
        group_by: vec![GroupBy::ProcessType],
        ..Rule::new(name, MatchSpec::default(), Condition::Threshold(threshold))
    }
}

/// The pack's rule about memory, told to the operator.
fn memory() -> Rule {
    let rule = rule_pack::rules().into_iter().find(|rule| rule.name == "memory-high").unwrap();
    Rule { receivers: vec!["operator".into()], send_resolved: true, resolve_after: seconds(30), ..rule }
}

fn memory_line(stamp: &str, dyno: &str, used_mb: f64) -> String {
    let text = format!(
        "source={dyno} dyno=heroku.1.d97d0ea7-cf3d-411b-b453-d2943a50b456 sample#memory_total={used_mb:.2}MB sample#memory_rss={used_mb:.2}MB sample#memory_cache=0.00MB sample#memory_swap=0.00MB sample#memory_pgpgin=3pages sample#memory_pgpgout=3pages sample#memory_quota=512.00MB"
    );
    frame(at(stamp), "heroku", dyno, &text)
}

/// The text before it was made safe for Slack.
fn plain(told: &Told) -> String {
    told.text.replace("&gt;", ">").replace("&lt;", "<")
}

/// Every 20 s from one moment to before another, in seconds, as dynos do.
async fn run(stage: &mut Stage, from: u32, until: u32, dynos: &[(&str, f64)]) {
    for second in (from..until).step_by(20) {
        let stamp = format!("{}:{:02}", second / 60, second % 60);
        let lines: Vec<String> = dynos.iter().map(|(dyno, used_mb)| memory_line(&stamp, dyno, *used_mb)).collect();
        stage.post(&stamp, "shop", &lines).await;
    }
}

pub(crate) async fn memory_over_ninety_percent_for_five_minutes(on: On) {
    let mut stage = Stage::with(on, vec![memory()]).await;
    // 500 of 512 MB are 97.7 %, 455 are 88.9 % and in the band, 400 are 78 %.
    run(&mut stage, 5, 305, &[("web.1", 400.0), ("worker.1", 500.0)]).await;
    stage.until("5:09").await;
    stage.told(&[]);
    run(&mut stage, 310, 330, &[("web.1", 400.0), ("worker.1", 500.0)]).await;
    let told = stage.told(&["5:10 operator: [firing] memory-high on shop (worker)"]);
    assert!(
        plain(&told[0]).contains("97.66 % in 1m (threshold max of dyno.memory_percent > 90, clears < 85)"),
        "{}",
        told[0].text
    );
    // Inside the band it goes on, however long.
    run(&mut stage, 330, 930, &[("web.1", 455.0), ("worker.1", 455.0)]).await;
    stage.told(&[]);
    run(&mut stage, 930, 1_050, &[("web.1", 455.0), ("worker.1", 400.0)]).await;
    let told = stage.take_told();
    let shown: Vec<&str> = told.iter().map(|told| told.title.as_str()).collect();
    assert_eq!(shown, ["[resolved] memory-high on shop (worker)"]);
    stage.end().await;
}

/// Tried on the stored values, a rule says what it said while it was in force.
pub(crate) async fn a_backtest_says_what_was_told(on: On) {
    let mut stage = Stage::with(on, vec![memory()]).await;
    run(&mut stage, 5, 330, &[("web.1", 400.0), ("worker.1", 500.0)]).await;
    run(&mut stage, 330, 1_050, &[("worker.1", 400.0)]).await;
    let told = stage.take_told();
    let told: Vec<_> = told.iter().map(|told| (told.title.starts_with("[firing]"), told.at)).collect();
    assert_eq!(told.len(), 2);
    let engine = stage.engine();
    let tried = engine.backtest_stored(&memory()).await.unwrap();
    assert_eq!((tried.fired, tried.messages, tried.matched), (1, 1, 0));
    let happened: Vec<_> =
        tried.happenings.iter().map(|happening| (happening.what == "firing", happening.at)).collect();
    assert_eq!(happened, told);
    assert!(tried.happenings[0].key.contains("worker"), "{}", tried.happenings[0].key);
    let coverage = tried.coverage;
    assert_eq!((coverage.apps, coverage.lines), (vec!["shop".to_owned()], 0));
    assert!(coverage.values > 50 && coverage.from == Some(at("0:00")), "{} {:?}", coverage.values, coverage.from);
    assert!(
        coverage.missing.len() == 1 && coverage.missing[0].contains("older than two hours"),
        "{:?}",
        coverage.missing
    );
    // One that asks for more says nothing; and nothing of this was kept.
    let mut threshold = Threshold::new("dyno.memory_percent", "> 99".parse().unwrap());
    threshold.window = seconds(60);
    assert_eq!(engine.backtest_stored(&of("more", threshold)).await.unwrap().fired, 0);
    assert_eq!(stage.alerts().await.len(), 1);
    stage.end().await;
}

pub(crate) async fn a_dip_starts_for_over(on: On) {
    let mut stage = Stage::with(on, vec![memory()]).await;
    run(&mut stage, 5, 225, &[("worker.1", 500.0)]).await;
    // The worst of a minute is what counts, so the dip must last longer than that.
    run(&mut stage, 225, 325, &[("worker.1", 450.0)]).await;
    run(&mut stage, 325, 605, &[("worker.1", 500.0)]).await;
    stage.told(&[]);
    run(&mut stage, 605, 665, &[("worker.1", 500.0)]).await;
    stage.told(&["10:30 operator: [firing] memory-high on shop (worker)"]);
    run(&mut stage, 665, 865, &[("worker.1", 100.0)]).await;
    assert_eq!(stage.take_told().len(), 1);
    stage.end().await;
}

/// Nothing is heard any more: nobody says that it is over, and nobody says that it is wrong.
pub(crate) async fn a_gap_neither_fires_nor_resolves(on: On) {
    let levels = |no_data| {
        let mut threshold = Threshold::new("dyno.memory_percent", "> 90".parse().unwrap());
        threshold.no_data = no_data;
        of(no_data.as_str(), threshold)
    };
    let mut stage = Stage::with(on, NoData::ALL.map(levels).to_vec()).await;
    run(&mut stage, 5, 65, &[("web.1", 100.0), ("worker.1", 500.0)]).await;
    let mut told = stage.take_told();
    told.sort_by_key(|told| told.title.clone());
    let shown: Vec<&str> = told.iter().map(|told| told.title.as_str()).collect();
    let fired = ["[firing] fire on shop (worker)", "[firing] ok on shop (worker)", "[firing] unknown on shop (worker)"];
    assert_eq!(shown, fired);
    // Other lines of the app go on.
    for minute in 2..12 {
        let stamp = format!("{minute}:00");
        stage.post(&stamp, "shop", &[app_line(&stamp, "web.1", "ok")]).await;
    }
    let told = stage.take_told();
    let shown: Vec<&str> = told.iter().map(|told| told.title.as_str()).collect();
    assert_eq!(shown, ["[firing] fire on shop (web)", "[resolved] ok on shop (worker)"], "{told:#?}");
    assert!(plain(&told[0]).contains("no data in 1m"), "{}", told[0].text);
    let open = stage.alerts().await.into_iter().filter(|alert| alert.row.state == AlertState::Firing).count();
    assert_eq!(open, 3);
    // Back again, all is well.
    run(&mut stage, 725, 905, &[("web.1", 100.0), ("worker.1", 100.0)]).await;
    assert_eq!(stage.take_told().len(), 3);
    // At its end the play falls silent, which one of the rules would tell.
    stage.stop().await;
}

/// Without room for metrics a rule on one says "unknown": it neither fires nor resolves, and operators are told.
pub(crate) async fn without_room_rules_on_metrics_are_unknown(on: On) {
    let pack = rule_pack::rules().into_iter().find(|rule| rule.name == "metrics-unwritten").unwrap();
    let notice = Rule { receivers: vec!["operator".into()], ..pack };
    let mut stage = Stage::with(on, vec![memory(), notice]).await;
    run(&mut stage, 5, 345, &[("worker.1", 500.0)]).await;
    stage.told(&["5:10 operator: [firing] memory-high on shop (worker)"]);
    let used = stage.engine().store().measure_metrics().await.unwrap().bytes;
    stage.restart_with_room(used - 1).await;
    stage.engine().store().measure_metrics().await.unwrap();
    run(&mut stage, 350, 650, &[("worker.1", 400.0)]).await;
    let told: Vec<String> = stage.take_told().into_iter().map(|told| told.title).collect();
    assert_eq!(told, ["[firing] metrics-unwritten on dynowatch"]);
    let engine = stage.engine();
    assert!(engine.levels_unknown_since().is_some() && !engine.metrics_written());
    let alert = stage.alerts().await.into_iter().find(|alert| alert.row.key.rule == "memory-high").unwrap();
    assert_eq!(alert.row.state, AlertState::Firing);
    assert!(format!("{alert:?}").contains("HeldUnknown"), "{alert:?}");
    // With room it is judged again, once nothing of that time lies in its window.
    drop(engine);
    stage.restart_with_room(1 << 40).await;
    run(&mut stage, 650, 950, &[("worker.1", 400.0)]).await;
    let told: Vec<String> = stage.take_told().into_iter().map(|told| told.title).collect();
    assert_eq!(told, ["[resolved] memory-high on shop (worker)"]);
    let engine = stage.engine();
    assert!(engine.levels_unknown_since().is_none() && engine.metrics_written());
    let blinds = engine.store().all_blinds_between(at("0:00"), at("20:00")).await.unwrap();
    assert!(blinds.iter().all(|(app, blind)| app.is_none() && blind.reason.as_str() == "unwritten"), "{blinds:?}");
    let until = blinds.iter().map(|(_, blind)| blind.until).max().unwrap();
    assert!(until >= at("10:30"), "{}: what was not written at its end is known", offset(until));
    stage.stop().await;
}

pub(crate) async fn a_restart_goes_on_where_it_was(on: On) {
    let mut stage = Stage::with(on, vec![memory()]).await;
    run(&mut stage, 5, 345, &[("worker.1", 500.0)]).await;
    stage.told(&["5:10 operator: [firing] memory-high on shop (worker)"]);
    stage.crash();
    stage.nobody_until("20:00");
    stage.start().await;
    stage.until("20:40").await;
    stage.told(&[]);
    assert_eq!(stage.alert().await.row.state, AlertState::Firing, "nobody looked");
    run(&mut stage, 1_245, 1_405, &[("worker.1", 100.0)]).await;
    let told = stage.take_told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0].title, "[resolved] memory-high on shop (worker)");
    stage.end().await;
}

/// What is counted over all dynos, a percentile of a process type, and labels of which only some count.
pub(crate) async fn counted_things_percentiles_and_labels(on: On) {
    let timeouts = Threshold {
        labels: vec!["H12".parse().unwrap()],
        rate_per: Some(seconds(60)),
        window: seconds(120),
        ..Threshold::new("platform.errors", ">= 2".parse().unwrap())
    };
    let slow = Threshold {
        aggregation: "p95".parse().ok(),
        sources: vec!["web".parse().unwrap()],
        ..Threshold::new("router.service_ms", "> 20000".parse().unwrap())
    };
    let alone = |rule: Rule| Rule { group_by: vec![], ..rule };
    let mut stage = Stage::with(on, vec![alone(of("timeouts", timeouts)), of("slow", slow)]).await;
    let line = |dyno: &str, code: &str| request(at("0:15"), dyno, code, if code.is_empty() { 200 } else { 503 });
    stage
        .post("0:15", "shop", &[line("web.1", "H12"), line("web.2", "H12"), line("web.2", "H13"), line("web.1", "H12")])
        .await;
    stage.until("0:25").await;
    stage.told(&["0:20 operator: [firing] slow on shop (web)"]);
    stage.post("0:26", "shop", &[request(at("0:26"), "web.3", "H12", 503)]).await;
    stage.until("0:35").await;
    let told = stage.told(&["0:30 operator: [firing] timeouts on shop"]);
    assert!(plain(&told[0]).contains("2 per 1m in 2m (threshold platform.errors per 1m >= 2)"), "{}", told[0].text);
    // Lines without errors: that is a zero, and the end. Of answer times there are none: that is no news.
    for minute in 1..8 {
        let stamp = format!("{minute}:40");
        stage.post(&stamp, "shop", &[app_line(&stamp, "web.1", "ok")]).await;
    }
    let told = stage.take_told();
    let shown: Vec<&str> = told.iter().map(|told| told.title.as_str()).collect();
    assert_eq!(shown, ["[resolved] timeouts on shop"]);
    stage.end().await;
}

/// Each of two processes takes a part of an app's lines; whoever looks sees both.
#[tokio::test]
async fn two_processes_are_looked_at_together() {
    let errors = Threshold::new("platform.errors", ">= 4".parse().unwrap());
    let mut stage = Stage::with(On::Postgres, vec![Rule { group_by: vec![], ..of("errors", errors) }]).await;
    let options = EngineOptions {
        clock: stage.clock.clone(),
        store: stage.another_store().await,
        settings: stage.settings(),
        limits: Limits::default(),
        commits: tokio::runtime::Handle::current(),
    };
    // The stage has the lease, for its passes came first.
    stage.until("0:01").await;
    let (other, other_loops) = Engine::start(options).await.unwrap();
    let two = || ["web.1", "web.2"].map(|dyno| request(at("0:15"), dyno, "H12", 503));
    stage.post("0:15", "shop", &two()).await;
    stage.until("0:25").await;
    stage.told(&[]);
    let app = other.app_named("shop").await.unwrap();
    let taken = other.take(&app, None, &bytes::Bytes::from(two().concat()));
    assert!(matches!(taken, Taken::Done { .. }), "no rule takes these lines");
    other.level_pass().await.unwrap();
    stage.until("0:35").await;
    stage.told(&["0:30 operator: [firing] errors on shop"]);
    other_loops.stop().await;
    stage.stop().await;
}

/// The same lines, by a drain and as a log: the same alerts fire and resolve at the same moments.
pub(crate) async fn a_replay_decides_alike(on: On) {
    let levels = Threshold { no_data: NoData::Fire, ..Threshold::new("custom.queue.depth", "> 5".parse().unwrap()) };
    let timeouts = Threshold {
        labels: vec!["H12".parse().unwrap()],
        rate_per: Some(seconds(60)),
        window: seconds(120),
        ..Threshold::new("platform.errors", ">= 2".parse().unwrap())
    };
    let slow = Threshold {
        aggregation: "p95".parse().ok(),
        ..Threshold::new("router.service_ms", "> 20000".parse().unwrap())
    };
    let dynos = Threshold::new("dyno.count", ">= 3".parse().unwrap());
    let alone = |rule: Rule| Rule { group_by: vec![], ..rule };
    let rules = vec![
        memory(),
        alone(of("queue", levels)),
        alone(of("timeouts", timeouts)),
        of("slow", slow),
        alone(of("dynos", dynos)),
    ];
    let mut stage = Stage::with(on, rules.clone()).await;
    let mut replay = Replay::new(rules, "shop", Masker::default(), 1_000).unwrap();
    for second in (5..1_500).step_by(20) {
        let stamp = format!("{}:{:02}", second / 60, second % 60);
        let memory_mb = if (100..700).contains(&second) { 500.0 } else { 300.0 };
        let mut lines = vec![memory_line(&stamp, "worker.1", memory_mb), app_line(&stamp, "web.1", "hello")];
        if !(400..=900).contains(&second) {
            let depth = if second < 200 { 9 } else { 1 };
            lines.push(app_line(&stamp, "worker.1", &format!("sample#queue.depth={depth}")));
        }
        if (300..400).contains(&second) {
            lines.extend([request(at(&stamp), "web.1", "H12", 503), request(at(&stamp), "web.2", "H12", 503)]);
        }
        if second == 605 {
            lines.push(frame(
                at(&stamp),
                "app",
                "api",
                "Scaled to web@2:Standard-1X worker@1:Basic by user ada@example.com",
            ));
        }
        replay.feed(Format::Logplex, lines.concat().as_bytes());
        stage.post(&stamp, "shop", &lines).await;
    }
    let served = stage.take_told();
    let mut served: Vec<String> = served.iter().map(|told| format!("{} {}", offset(told.at), told.title)).collect();
    let (happenings, _) = replay.finish();
    let told = happenings.iter().filter(|one| !one.receivers.is_empty());
    let mut replayed: Vec<String> = told
        .map(|one| {
            let group =
                one.key.split_once("process_type=").map(|(_, process)| format!(" ({process})")).unwrap_or_default();
            format!("{} [{}] {} on shop{group}", offset(one.at), one.what.replace('_', " "), one.rule)
        })
        .collect();
    served.sort();
    replayed.sort();
    assert_eq!(replayed, served);
    for rule in ["memory-high", "queue", "timeouts", "slow", "dynos"] {
        assert!(served.iter().any(|told| told.contains(&format!("[firing] {rule} "))), "{rule}: {served:#?}");
    }
    stage.stop().await;
}

/// A rule for some apps, a metric of the team's own, a share of a number.
pub(crate) async fn own_values_and_apps(on: On) {
    let queue = Threshold {
        percent_of: Some(dynowatch_domain::threshold::PercentOf::Number("200".parse().unwrap())),
        ..Threshold::new("custom.queue.depth", "> 50".parse().unwrap())
    };
    let rule = Rule { group_by: vec![GroupBy::App], apps: vec!["shop".parse().unwrap()], ..of("queue", queue) };
    let mut stage = Stage::with(on, vec![rule]).await;
    let line = |stamp: &str| app_line(stamp, "worker.1", "source=worker.1 sample#queue.depth=150");
    stage.post("0:15", "mail", &[line("0:15")]).await;
    stage.post("0:15", "shop", &[line("0:15")]).await;
    stage.until("0:25").await;
    let told = stage.told(&["0:20 operator: [firing] queue on shop"]);
    assert!(plain(&told[0]).contains("75 % in 1m (threshold custom.queue.depth as % of 200 > 50)"), "{}", told[0].text);
    stage.stop().await;
}
