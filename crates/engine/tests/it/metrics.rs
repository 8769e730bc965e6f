//! Values over time: from lines to answers, through crashes, folds, several processes and months.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::metric::{Aggregation, Labels, SeriesQuery, Sources};
use dynowatch_engine::metrics::query::Asked;
use dynowatch_engine::{Engine, EngineOptions, Limits};

use crate::harness::{Config, On, Stage, app_line, at, frame, request, seconds};

/// A question over minutes of the play, as in `"0:00", "10:00"`.
fn ask(metric: &str, from: &str, until: &str, step_s: u64) -> SeriesQuery {
    SeriesQuery::new(metric, at(from), at(until), seconds(step_s))
}

async fn answer(engine: &Engine, query: &SeriesQuery) -> Asked {
    let app = engine.apps().by_name("shop").unwrap().id;
    engine.series(app, query).await.unwrap()
}

/// The points of the only series, a `-` for what nobody knows.
async fn points(engine: &Engine, query: &SeriesQuery) -> String {
    let asked = answer(engine, query).await;
    assert!(asked.answer.series.len() <= 1, "{asked:?}");
    let points = asked.answer.series.into_iter().flat_map(|series| series.points);
    points.map(|point| point.map_or("-".to_owned(), |p| p.to_string())).collect::<Vec<_>>().join(" ")
}

fn memory(when: Timestamp, dyno: &str, total: f64, quota: f64) -> String {
    let text =
        format!("source={dyno} dyno=heroku.1.u sample#memory_total={total:.2}MB sample#memory_quota={quota:.2}MB");
    frame(when, "heroku", dyno, &text)
}

async fn requests(stage: &mut Stage, stamp: &str, dyno: &str, status: u16, count: usize) {
    let lines: Vec<String> = (0..count).map(|_| request(at(stamp), dyno, "", status)).collect();
    stage.post_now("shop", &lines).await.unwrap();
}

/// After an outage an hour of lines comes in within seconds, and none of it is late: what is full is stored at once.
pub(crate) async fn lines_of_an_hour_come_in_at_once(on: On) {
    let mut stage = Stage::with(on, vec![]).await;
    stage.until("60:00").await;
    let engine = stage.engine();
    for minutes in (0..60).step_by(5) {
        let lines: Vec<String> = (0..30)
            .map(|i| at("0:00") + seconds(minutes * 60 + i * 10))
            .flat_map(|stamp| (0..10).map(move |dyno| request(stamp, &format!("web.{dyno}"), "", 200)))
            .collect();
        stage.post_now("shop", &lines).await.unwrap();
        engine.crowded().await;
        engine.crowded_pass().await.unwrap();
    }
    assert_eq!(points(&engine, &ask("router.requests", "0:00", "60:00", 3_600)).await, "3600");
    assert!(engine.overflows().contains(&("late_lines", 0)));
}

/// Whatever lies in chunks and whatever in packed rows, the answer is the same.
pub(crate) async fn answers_do_not_change_when_values_are_folded(on: On) {
    let mut stage = Stage::with(on, vec![]).await;
    for (stamp, dyno, status, count) in
        [("0:05", "web.1", 200, 5), ("0:07", "web.2", 503, 2), ("0:15", "web.1", 200, 1), ("1:10", "web.2", 200, 4)]
    {
        stage.until(stamp).await;
        requests(&mut stage, stamp, dyno, status, count).await;
        stage.post_now("shop", &[memory(at(stamp), dyno, 100.0 + count as f64, 512.0)]).await.unwrap();
    }
    stage.until("2:00").await;
    let engine = stage.engine();
    for folded in [false, true, true] {
        if folded {
            engine.fold_pass().await.unwrap();
        }
        assert_eq!(points(&engine, &ask("router.requests", "0:00", "0:30", 10)).await, "7 1 -", "{folded}");
        assert_eq!(points(&engine, &ask("router.requests", "0:00", "3:00", 60)).await, "8 4 -", "{folded}");
        let errors = SeriesQuery { labels: Labels::parse("5xx"), ..ask("router.requests", "0:00", "2:00", 60) };
        assert_eq!(points(&engine, &errors).await, "2 0", "{folded}");
        let one = SeriesQuery { sources: Sources::parse("web.1"), ..ask("router.requests", "0:00", "2:00", 60) };
        assert_eq!(points(&engine, &one).await, "6 0", "{folded}");
        let p95 = ask("router.service_ms", "0:00", "2:00", 60);
        assert_eq!(points(&engine, &p95).await, "30000 30000", "{folded}");
        let last = SeriesQuery {
            sources: Sources::parse("web"),
            aggregation: Some(Aggregation::Max),
            ..ask("dyno.memory_total_mb", "0:00", "2:00", 60)
        };
        assert_eq!(points(&engine, &last).await, "105 104", "{folded}");
        // In longer steps, of which no row knows yet.
        assert_eq!(points(&engine, &ask("router.requests", "0:00", "10:00", 600)).await, "12", "{folded}");
        assert_eq!(points(&engine, &ask("router.requests", "0:00", "60:00", 3_600)).await, "12", "{folded}");
    }
    // More of the same minute comes late, after it was folded.
    requests(&mut stage, "0:09", "web.1", 200, 3).await;
    stage.until("2:10").await;
    assert_eq!(points(&engine, &ask("router.requests", "0:00", "3:00", 60)).await, "11 4 -");
    engine.fold_pass().await.unwrap();
    assert_eq!(points(&engine, &ask("router.requests", "0:00", "3:00", 60)).await, "11 4 -");
}

/// A process that is killed loses the last ten seconds at most, one that is stopped nothing.
pub(crate) async fn a_kill_loses_ten_seconds_at_most(on: On) {
    let mut stage = Stage::with(on, vec![]).await;
    for stamp in ["0:01", "0:11", "0:21", "0:31"] {
        stage.until(stamp).await;
        requests(&mut stage, stamp, "web.1", 200, 1).await;
    }
    stage.crash();
    stage.start().await;
    assert_eq!(points(&stage.engine(), &ask("router.requests", "0:00", "0:30", 10)).await, "1 1 1");
    // What was lost is not zero: nobody knows.
    assert_eq!(points(&stage.engine(), &ask("router.requests", "0:30", "0:40", 10)).await, "-");

    stage.until("0:45").await;
    requests(&mut stage, "0:45", "web.1", 200, 2).await;
    let line = frame(at("0:45"), "heroku", "web.1", "State changed from up to crashed");
    stage.post_now("shop", &[line]).await.unwrap();
    stage.stop().await;
    stage.start().await;
    let engine = stage.engine();
    assert_eq!(points(&engine, &ask("router.requests", "0:40", "0:50", 10)).await, "2");
    let app = engine.apps().by_name("shop").unwrap().id;
    assert_eq!(engine.store().dyno_states(app).await.unwrap()[0].state, "crashed");
    assert_eq!(engine.store().paths(app, false, at("0:00"), at("60:00")).await.unwrap().top()[0].0, "/orders/:id");
}

/// A batch that comes twice counts once, also where nothing in it matters to a rule.
pub(crate) async fn a_repeated_batch_is_counted_once(on: On) {
    let mut stage = Stage::with(on, vec![crate::harness::h12_rule()]).await;
    let lines = [request(at("0:01"), "web.1", "", 200), request(at("0:02"), "web.1", "H12", 503)];
    for _ in 0..3 {
        stage.post_frame("shop", "again", &lines).await.unwrap();
        stage.post_frame("shop", "plain", &lines[..1]).await.unwrap();
    }
    // Forgotten by this process, known to the store.
    stage.until("0:10").await;
    stage.restart().await;
    stage.post_frame("shop", "again", &lines).await.unwrap();
    stage.until("0:20").await;
    assert_eq!(points(&stage.engine(), &ask("router.requests", "0:00", "0:10", 10)).await, "3");
    let errors = SeriesQuery { labels: Labels::parse("H*"), ..ask("platform.errors", "0:00", "0:10", 10) };
    assert_eq!(points(&stage.engine(), &errors).await, "1");
}

/// D1: ten minutes without a line are unknown, for levels and for counters.
pub(crate) async fn d1_a_gap_is_a_gap(on: On) {
    let mut stage = Stage::with(on, vec![]).await;
    for minute in (0..10).chain(20..25) {
        let stamp = format!("{minute}:30");
        stage.until(&stamp).await;
        requests(&mut stage, &stamp, "web.1", 200, 1).await;
        stage.post_now("shop", &[memory(at(&stamp), "web.1", 256.0, 512.0)]).await.unwrap();
    }
    stage.until("25:00").await;
    stage.engine().fold_pass().await.unwrap();
    let engine = stage.engine();
    let gap = ["-"; 10].join(" ");
    let (ones, halves) = (["1"; 10].join(" "), ["50"; 10].join(" "));
    let five = |text: &str| [text; 5].join(" ");
    assert_eq!(
        points(&engine, &ask("router.requests", "0:00", "25:00", 60)).await,
        format!("{ones} {gap} {}", five("1"))
    );
    assert_eq!(
        points(&engine, &ask("dyno.memory_percent", "0:00", "25:00", 60)).await,
        format!("{halves} {gap} {}", five("50"))
    );
    // Nothing failed, which is known only where the app was seen.
    let errors = SeriesQuery { labels: Labels::parse("5xx"), ..ask("router.requests", "0:00", "25:00", 60) };
    assert_eq!(points(&engine, &errors).await, format!("{} {gap} {}", ["0"; 10].join(" "), five("0")));
    stage.until("26:00").await;
}

/// D3: the quota steps, and so does the share.
pub(crate) async fn d3_the_quota_steps(on: On) {
    let mut stage = Stage::with(on, vec![]).await;
    for (minute, quota) in [(0, 512.0), (1, 512.0), (2, 1024.0), (3, 1024.0)] {
        let stamp = format!("{minute}:30");
        stage.until(&stamp).await;
        stage.post_now("shop", &[memory(at(&stamp), "web.1", 384.0, quota)]).await.unwrap();
    }
    stage.until("4:00").await;
    for _ in 0..2 {
        let engine = stage.engine();
        assert_eq!(points(&engine, &ask("dyno.memory_quota_mb", "0:00", "4:00", 60)).await, "512 512 1024 1024");
        assert_eq!(points(&engine, &ask("dyno.memory_percent", "0:00", "4:00", 60)).await, "75 75 37.5 37.5");
        engine.fold_pass().await.unwrap();
    }
}

/// Scaling is a level from then on; it and what else happened are on the strip.
pub(crate) async fn formation_and_strip(on: On) {
    let mut stage = Stage::with(on, vec![crate::harness::h12_rule()]).await;
    let api = |stamp: &str, text: &str| frame(at(stamp), "app", "api", text);
    let lines = [
        api("0:05", "Scaled to web@2:Standard-1X worker@1:Basic by user ada@example.com"),
        api("0:06", "Deploy 0a1b2c3d by user ada@example.com"),
        api("0:06", "Release v214 created by user ada@example.com"),
        api("0:08", "Set LOG_LEVEL config vars by user ada@example.com"),
        frame(at("0:09"), "heroku", "web.1", "Restarting"),
        frame(at("0:09"), "heroku", "web.2", "Restarting"),
        frame(at("0:12"), "heroku", "web.2", "State changed from starting to crashed"),
    ];
    stage.until("0:15").await;
    stage.post_now("shop", &lines).await.unwrap();
    for stamp in ["0:21", "0:31", "0:41"] {
        stage.until(stamp).await;
        stage.post_now("shop", &[app_line(stamp, "web.1", "hello")]).await.unwrap();
    }
    // Another process learns of it from the store.
    stage.stop().await;
    stage.start().await;
    stage.until("0:51").await;
    stage.post_now("shop", &[app_line("0:51", "web.1", "hello")]).await.unwrap();
    stage.until("1:01").await;
    let engine = stage.engine();
    let counted = SeriesQuery { sources: Sources::parse("web"), ..ask("dyno.count", "0:30", "1:00", 10) };
    assert_eq!(points(&engine, &counted).await, "2 2 2");
    assert_eq!(points(&engine, &ask("dyno.count", "0:40", "1:00", 10)).await, "3 3");

    let app = engine.apps().by_name("shop").unwrap().id;
    let events = engine.app_events(app, at("0:00"), at("60:00")).await.unwrap();
    let shown: Vec<String> = events
        .iter()
        .map(|e| {
            let actor = e.actor.as_deref().unwrap_or("-");
            format!("{} {} {actor} {} {:?}", &e.at.time_of_day()[3..], e.kind.as_str(), e.what, e.version)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "00:12 crash - web.2 crashed None",
            "00:08 config ada@example.com Set LOG_LEVEL config vars None",
            "00:06 release ada@example.com Deploy 0a1b2c3d Some(214)",
            "00:05 scale ada@example.com Scaled to web@2:Standard-1X worker@1:Basic None",
            "00:00 restart - web restarted None",
        ]
    );
    stage.end().await;
}

/// Over months, values become fewer and their sums stay; what is over is forgotten, single dynos first.
pub(crate) async fn steps_grow_longer_and_end(on: On) {
    let mut stage = Stage::with(on, vec![]).await;
    for minute in [1, 11, 61, 181] {
        let stamp = format!("{minute}:05");
        stage.clock.set(at(&stamp));
        requests(&mut stage, &stamp, "web.1", 200, minute).await;
        stage.engine().level_pass().await.unwrap();
    }
    let engine = stage.engine();
    let day = |days: u64| at("0:00") + Duration::from_secs(days * 86_400);
    let all = |step: u64, source: &str| SeriesQuery {
        sources: Sources::parse(source),
        ..SeriesQuery::new("router.requests", at("0:00"), at("240:00"), seconds(step))
    };
    let web = |step| all(step, "web");
    let minutes = async |query: SeriesQuery| {
        let points = answer(&engine, &query).await.answer.series.into_iter().flat_map(|s| s.points);
        points.flatten().filter(|point| *point > 0.0).map(|point| point.to_string()).collect::<Vec<_>>().join(" ")
    };
    for (days, ten_seconds, dyno, minute, ten_minutes, hour) in [
        (0, "181", "1 11 61 181", "1 11 61 181", "1 11 61 181", "12 61 181"),
        (1, "", "1 11 61 181", "1 11 61 181", "1 11 61 181", "12 61 181"),
        (8, "", "", "1 11 61 181", "1 11 61 181", "12 61 181"),
        (31, "", "", "", "1 11 61 181", "12 61 181"),
        (92, "", "", "", "", "12 61 181"),
        (440, "", "", "", "", ""),
    ] {
        let now = if days == 0 { at("182:00") } else { day(days) };
        stage.clock.set(now);
        // Each pass goes one step further, and the next changes nothing.
        for _ in 0..3 {
            engine.fold_pass().await.unwrap();
        }
        assert_eq!(minutes(all(10, "web.1")).await, ten_seconds, "10 s after {days} days");
        assert_eq!(minutes(all(60, "web.1")).await, dyno, "a dyno after {days} days");
        assert_eq!(minutes(web(60)).await, minute, "minutes after {days} days");
        assert_eq!(minutes(web(600)).await, ten_minutes, "10 min after {days} days");
        assert_eq!(minutes(web(3_600)).await, hour, "hours after {days} days");
    }
}

/// Compaction and pruning block no delivery: one that hangs, with every table of metrics in its hands, is not waited for.
#[tokio::test]
async fn a_compaction_that_hangs_holds_up_no_delivery() {
    let config = Config { levels: false, ..Config::of(vec![crate::harness::h12_rule()]) };
    let mut stage = Stage::configured(On::Postgres, config).await;
    let locked = stage.database().lock_tables("metric_series, metric_chunks, metric_packs, metric_paths").await;
    let storm: Vec<String> = (0..4).map(|_| request(at("0:00"), "web.1", "H12", 503)).collect();
    let began = tokio::time::Instant::now();
    stage.post_now("shop", &storm).await.unwrap();
    assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
    stage.passes().await;
    stage.told_of(&["[firing] h12 on shop"]);
    // What was counted meanwhile is written when there is a way again.
    drop(locked);
    stage.engine().level_pass().await.unwrap();
    assert_eq!(points(&stage.engine(), &ask("router.requests", "0:00", "0:10", 10)).await, "4");
}

/// Near the end of their room the oldest minutes go, beyond it metrics stop, and alerts go on all the while.
pub(crate) async fn alerts_go_on_where_metrics_have_no_room(on: On) {
    let config = Config { levels: false, ..Config::of(vec![crate::harness::h12_rule()]) };
    let mut stage = Stage::configured(on, config).await;
    let day = Duration::from_secs(86_400);
    let noon = |n: u32| at("240:00") + day * n;
    for n in 0..4 {
        for minute in 0..20 {
            let when = noon(n) + Duration::from_secs(60 * minute);
            stage.clock.set(when);
            let dynos: Vec<String> =
                (1..20).map(|dyno| memory(when, &format!("web.{dyno}"), 100.0 + f64::from(dyno), 512.0)).collect();
            stage.post_now("shop", &dynos).await.unwrap();
            stage.engine().level_pass().await.unwrap();
        }
        stage.engine().fold_pass().await.unwrap();
    }
    let minutes = async |engine: &Engine, n: u32| {
        let query = SeriesQuery::new("dyno.memory_total_mb", noon(n), noon(n) + seconds(1_200), seconds(60));
        answer(engine, &query).await.answer.series.iter().flat_map(|series| &series.points).flatten().count()
    };
    let engine = stage.engine();
    assert_eq!((minutes(&engine, 0).await, minutes(&engine, 3).await), (20, 20));
    let taken = engine.store().measure_metrics().await.unwrap().bytes;

    // 96 % of the room: what is older than a day makes some, and that it does is counted.
    drop(engine);
    stage.restart_with_room(taken * 100 / 96).await;
    // The lease of the fold was the last process's for a minute.
    stage.clock.advance(seconds(61));
    let engine = stage.engine();
    engine.fold_pass().await.unwrap();
    assert!(engine.stats().metric_rows_pruned_for_room.get() > 0);
    assert!(!engine.store().metrics_room().above(95), "{:?}", engine.store().metrics_room());
    assert_eq!((minutes(&engine, 0).await, minutes(&engine, 3).await), (0, 20), "the last day stays");
    engine.level_pass().await.unwrap();

    // No room at all: nothing more is written, loudly, and who must be told is told.
    let used = engine.store().measure_metrics().await.unwrap().bytes;
    drop(engine);
    stage.restart_with_room(used - 1).await;
    let engine = stage.engine();
    engine.store().measure_metrics().await.unwrap();
    let stamp = noon(3) + seconds(1_300);
    stage.clock.set(stamp);
    let storm: Vec<String> = (0..4).map(|_| request(stamp, "web.1", "H12", 503)).collect();
    stage.post_now("shop", &storm).await.unwrap();
    let full = engine.level_pass().await.unwrap_err();
    assert!(matches!(full, dynowatch_store::StoreError::Full(_)), "{full}");
    assert!(engine.store().metrics_stopped() && engine.stats().metric_flush_failures.get() > 0);
    stage.passes().await;
    let told = stage.take_told();
    assert_eq!(told.iter().map(|told| told.title.as_str()).collect::<Vec<_>>(), ["[firing] h12 on shop"]);

    // Room again: what waited in memory is written.
    let later = stamp + day * 500;
    engine.store().prune_for_room(later).await.unwrap();
    engine.store().prune_chunks(later, later).await.unwrap();
    engine.store().measure_metrics().await.unwrap();
    engine.level_pass().await.unwrap();
    assert!(!engine.store().metrics_stopped());
    let waited = stamp.floor(seconds(10));
    let waited = SeriesQuery::new("router.requests", waited, waited + seconds(10), seconds(10));
    assert_eq!(points(&engine, &waited).await, "4");
    stage.stop().await;
}

/// Two processes that each see a part of an app add up, whoever folds.
#[tokio::test]
async fn two_processes_add_up() {
    let mut stage = Stage::with(On::Postgres, vec![]).await;
    let options = EngineOptions {
        clock: stage.clock.clone(),
        store: stage.another_store().await,
        settings: stage.settings(),
        limits: Limits::default(),
        commits: tokio::runtime::Handle::current(),
    };
    let (other, other_loops) = Engine::start(options).await.unwrap();
    let app = other.app_named("shop").await.unwrap();
    let post = |engine: &Engine, app: &Arc<dynowatch_engine::App>, lines: &[String]| {
        let taken = engine.take(app, None, &bytes::Bytes::from(lines.concat()));
        assert!(matches!(taken, dynowatch_engine::Taken::Done { .. }));
    };
    let line = |stamp: &str, dyno: &str, ms: u32| {
        let text = format!(
            "at=info method=GET path=\"/\" host=h request_id=r fwd=\"f\" dyno={dyno} connect=0ms service={ms}ms status=200 bytes=1 protocol=https"
        );
        frame(at(stamp), "heroku", "router", &text)
    };
    for minute in 0..3 {
        let stamp = format!("{minute}:05");
        stage.until(&stamp).await;
        requests(&mut stage, &stamp, "web.1", 200, 2).await;
        post(&other, &app, &[line(&stamp, "web.1", 10), line(&stamp, "web.2", 20)]);
        other.level_pass().await.unwrap();
        // Both try; one at a time does it.
        let (a, b) = (stage.engine(), other.clone());
        let (one, two) = tokio::join!(a.fold_pass(), b.fold_pass());
        one.unwrap();
        two.unwrap();
    }
    stage.until("3:10").await;
    for engine in [&stage.engine(), &other] {
        assert_eq!(points(engine, &ask("router.requests", "0:00", "3:00", 60)).await, "4 4 4");
        let one = SeriesQuery { sources: Sources::parse("web.1"), ..ask("router.requests", "0:00", "3:00", 60) };
        assert_eq!(points(engine, &one).await, "3 3 3");
        let least = SeriesQuery { aggregation: Some(Aggregation::Min), ..ask("router.service_ms", "0:00", "3:00", 60) };
        assert_eq!(points(engine, &least).await, "10 10 10");
    }
    other_loops.stop().await;
}
