//! What a handful of lines leaves in the slots.

use dynowatch_logplex::{StampCache, message, record};

use super::*;
use crate::adapter;
use crate::metrics::path_sample::Sampler;

fn t(text: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-05-07T08:{text}Z")).unwrap()
}

fn read(recorder: &mut Recorder, lines: &[&str], now: Timestamp) {
    let (mut batch, mut cache) = (BatchMetrics::default(), StampCache::default());
    for line in lines {
        let line = format!("2026-05-07T08:{line}");
        let message = message(line.as_bytes(), &mut cache).unwrap();
        let record = record(&message);
        let signal = adapter::signal(&message, &record, Timestamp::from_micros(message.at_us), false);
        recorder.line(&mut batch, &record, &signal);
        if let Record::Samples(samples) = &record {
            recorder.samples(&mut batch, samples, &signal);
        }
    }
    let _crowded = recorder.apply(&batch, now);
}

/// Every value as `time metric source label: value`, sorted.
fn show(taken: Taken) -> Vec<String> {
    let mut all: Vec<String> = taken
        .into_iter()
        .map(|(key, at, value)| {
            let value = match value {
                Value::Counter(sum) => sum.to_string(),
                Value::Gauge(g) => format!("{} of {}", g.last, g.n),
                Value::Distribution(s) => format!("{}..{} of {}", s.min().unwrap(), s.max().unwrap(), s.n()),
            };
            format!("{} {} {} {}: {value}", &at.time_of_day()[3..], key.metric, key.source, key.label)
        })
        .collect();
    all.sort();
    all
}

fn request(at: &str, dyno: &str, status: u16, service: u32) -> String {
    format!(
        "{at}Z heroku[router]: at=info method=GET path=\"/orders/7?x=1\" host=h request_id=r fwd=\"f\" dyno={dyno} connect=1ms service={service}ms status={status} bytes=100 protocol=https"
    )
}

#[test]
fn requests_by_dyno_and_slot() {
    let mut recorder = Recorder::default();
    let lines = [
        request("06:01", "web.1", 200, 10),
        request("06:02", "web.1", 200, 30),
        request("06:03", "web.2", 503, 20),
        request("06:11", "web.1", 200, 40),
        "06:12Z heroku[router]: at=error code=H14 desc=\"No web processes running\" method=GET path=\"/\" host=h request_id=r fwd=\"f\" dyno= connect= service= status=503 bytes= protocol=https".to_owned(),
    ];
    read(&mut recorder, &lines.iter().map(String::as_str).collect::<Vec<_>>(), t("06:20"));
    assert_eq!(
        show(recorder.take()),
        [
            "06:00 app.lines  : 3",
            "06:00 router.bytes web.1 : 200",
            "06:00 router.bytes web.2 : 100",
            "06:00 router.connect_ms web.1 : 1..1 of 2",
            "06:00 router.connect_ms web.2 : 1..1 of 1",
            "06:00 router.requests web.1 200: 2",
            "06:00 router.requests web.2 503: 1",
            "06:00 router.service_ms web.1 : 10..30 of 2",
            "06:00 router.service_ms web.2 : 20..20 of 1",
            "06:10 app.lines  : 2",
            "06:10 platform.errors  H14: 1",
            "06:10 router.bytes web.1 : 100",
            "06:10 router.connect_ms web.1 : 1..1 of 1",
            "06:10 router.requests  503: 1",
            "06:10 router.requests web.1 200: 1",
            "06:10 router.service_ms web.1 : 40..40 of 1",
        ]
    );
    // Taken is taken; the names stay.
    assert_eq!(show(recorder.take()), Vec::<String>::new());
    // The first request was looked at for its path, and every failed one.
    assert_eq!(recorder.paths.all.top()[0].0, "/orders/:id");
    assert_eq!(recorder.paths.errors.top().len(), 2);
}

#[test]
fn samples_states_and_steps() {
    let mut recorder = Recorder::default();
    let lines = [
        "06:01Z heroku[web.1]: source=web.1 dyno=heroku.1.u sample#memory_total=256.50MB sample#memory_quota=512.00MB",
        "06:02Z heroku[run.4242]: source=run.4242 dyno=heroku.1.u sample#load_avg_1m=0.5",
        "06:03Z heroku[web.1]: State changed from up to crashed",
        "06:03Z heroku[web.1]: Process exited with status 137",
        "06:04Z heroku[worker.1]: Restarting",
        "06:05Z heroku[worker.2]: Restarting",
        "06:05Z heroku[worker.1]: Error R14 (Memory quota exceeded)",
        "06:06Z heroku[logplex]: Error L10 (output buffer overflow): 7 messages dropped since 2026-05-07T08:06:00+00:00.",
        "06:07Z app[api]: Scaled to web@2:Standard-1X worker@1:Basic by user dev@example.com",
        "06:08Z app[web.1]: count#jobs=2 measure#db=12ms",
        "06:08Z app[web.1]: hello",
    ];
    read(&mut recorder, &lines, t("06:20"));
    assert_eq!(
        show(recorder.take()),
        [
            "06:00 app.lines  : 11",
            "06:00 custom.db_ms web.1 : 12000..12000 of 1",
            "06:00 custom.jobs web.1 : 2",
            "06:00 dyno.crashes web.1 : 1",
            "06:00 dyno.exits web.1 137: 1",
            "06:00 dyno.load_1m run : 0.5 of 1",
            "06:00 dyno.memory_percent web.1 : 50.1 of 1",
            "06:00 dyno.memory_quota_mb web.1 : 512 of 1",
            "06:00 dyno.memory_total_mb web.1 : 256.5 of 1",
            "06:00 dyno.restarts worker.1 restart: 1",
            "06:00 dyno.restarts worker.2 restart: 1",
            "06:00 dyno.states web.1 crashed: 1",
            "06:00 platform.errors  L10: 1",
            "06:00 platform.errors worker.1 R14: 1",
        ]
    );
    let (events, states) = recorder.events.take();
    let events: Vec<String> =
        events.iter().map(|e| format!("{} {} {:?}", e.kind.as_str(), e.source, e.actor)).collect();
    assert_eq!(events, ["crash web.1 None", "restart worker None", "scale  Some(\"dev@example.com\")"]);
    assert_eq!(states.iter().map(|s| format!("{} {}", s.dyno, s.state)).collect::<Vec<_>>(), ["web.1 crashed"]);
    let (keys, newest) = recorder.latest();
    let at = keys.iter().position(|key| &*key.metric == "dyno.memory_total_mb").unwrap();
    assert_eq!(newest[at], (256.5, t("06:01")));
}

#[test]
fn what_is_too_late_or_too_much_is_counted() {
    let mut recorder = Recorder::default();
    let late = request("00:01", "web.1", 200, 10);
    read(&mut recorder, &[&late], Timestamp::parse("2026-05-07T10:30:00Z").unwrap());
    assert_eq!((recorder.late, recorder.take().len()), (1, 0));

    let lines: Vec<String> = (0..SERIES_MAX + 5).map(|i| format!("06:01Z app[web.1]: sample#thing{i}=1")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    read(&mut recorder, &lines, t("06:20"));
    assert_eq!((recorder.series_count(), recorder.refused), (SERIES_MAX, 5));
    // A series that is known still gets its values.
    assert_eq!(recorder.take().len(), SERIES_MAX + 1);
    read(&mut recorder, &lines[..1], t("06:20"));
    assert_eq!(recorder.take().len(), 2);

    // A thousand lines that waited for an hour come in together; of two hours of a busy app, what there is room for.
    for (dynos, slots, crowded) in
        [(1, 360, true), (10, OPEN_BYTES_MAX / (10 * DISTRIBUTION_BYTES) + 1, true), (1, 100, false)]
    {
        let asked = if crowded { 360 } else { slots };
        let lines: Vec<String> = (0..asked)
            .flat_map(|i| (0..dynos).map(move |dyno| (i * 10, dyno)))
            .map(|(at, dyno)| request(&format!("{:02}:{:02}", at / 60, at % 60), &format!("web.{dyno}"), 200, 1))
            .collect();
        let mut recorder = Recorder::default();
        read(&mut recorder, &lines.iter().map(String::as_str).collect::<Vec<_>>(), t("59:59"));
        assert_eq!(recorder.late, ((asked - slots) * dynos) as u64, "{dynos} dynos");
        assert_eq!(recorder.apply(&BatchMetrics::default(), t("59:59")), crowded);
        assert_eq!(recorder.take().len(), slots * (1 + 4 * dynos));
        assert!(!recorder.apply(&BatchMetrics::default(), t("59:59")));
    }
}

/// D3: the quota steps, the share is always of the quota that the same line names.
#[test]
fn a_new_quota_is_a_step() {
    let mut recorder = Recorder::default();
    let line = |at: &str, total: &str, quota: &str| {
        format!(
            "{at}Z heroku[web.1]: source=web.1 dyno=heroku.1.u sample#memory_total={total}MB sample#memory_quota={quota}MB"
        )
    };
    let lines = [line("06:01", "256.00", "512.00"), line("06:21", "256.00", "1024.00")];
    read(&mut recorder, &lines.iter().map(String::as_str).collect::<Vec<_>>(), t("06:30"));
    let found = show(recorder.take());
    let of = |metric: &str| found.iter().filter(|line| line.contains(metric)).cloned().collect::<Vec<_>>();
    assert_eq!(
        of("quota"),
        ["06:00 dyno.memory_quota_mb web.1 : 512 of 1", "06:20 dyno.memory_quota_mb web.1 : 1024 of 1"]
    );
    assert_eq!(
        of("percent"),
        ["06:00 dyno.memory_percent web.1 : 50 of 1", "06:20 dyno.memory_percent web.1 : 25 of 1"]
    );
}

#[test]
fn few_requests_are_all_looked_at_and_many_are_stood_for() {
    for (requests, looked_at) in [(1, 1..=1), (64, 64..=64), (1_000, 100..=250), (100_000, 300..=900)] {
        let mut sampler = Sampler::default();
        let weights: Vec<u64> = (0..requests).filter_map(|_| sampler.weight()).collect();
        assert!(looked_at.contains(&weights.len()), "{requests}: {}", weights.len());
        let (stood_for, newest) = (weights.iter().sum::<u64>(), weights.last().copied().unwrap_or_default());
        assert!(stood_for >= requests && stood_for - requests < newest, "{requests}: {stood_for}");
    }
}

/// A source writes its values in one order; another order, another unit and another source are found all the same.
#[test]
fn values_are_known_by_name_in_any_order() {
    let line =
        |second: u32, source: &str, samples: &str| format!("06:{second:02}Z app[worker.1]: source={source} {samples}");
    let lines = [
        line(1, "a", "sample#x=1 sample#y=2 sample#z=3"),
        line(2, "a", "sample#x=1 sample#y=2 sample#z=3"),
        line(3, "a", "sample#z=30 sample#x=10"),
        line(4, "b", "sample#x=100 sample#z=300"),
        line(5, "a", "sample#x=4MB sample#y=5 count#z=6"),
        line(6, "a", "sample#y=7"),
    ];
    let mut recorder = Recorder::default();
    read(&mut recorder, &lines.iter().map(String::as_str).collect::<Vec<_>>(), t("06:20"));
    let mut told = show(recorder.take());
    told.retain(|one| one.contains("custom."));
    let want = [
        "06:00 custom.x a : 10 of 3",
        "06:00 custom.x b : 100 of 1",
        "06:00 custom.x_bytes a : 4194304 of 1",
        "06:00 custom.y a : 7 of 4",
        "06:00 custom.z a : 30 of 3",
        "06:00 custom.z a : 6",
        "06:00 custom.z b : 300 of 1",
    ];
    assert_eq!(told, want);
}

#[test]
fn only_what_is_asked_for_is_kept() {
    let lines = [
        request("06:01", "web.1", 200, 10),
        "06:02Z heroku[web.1]: source=web.1 dyno=heroku.1.u sample#memory_total=256.00MB sample#memory_rss=200.00MB sample#memory_quota=512.00MB".to_owned(),
        "06:03Z heroku[web.1]: Error R14 (Memory quota exceeded)".to_owned(),
        "06:04Z app[worker.1]: count#jobs=3 sample#depth=7".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let cases: [(&[&str], &[&str]); 4] = [
        (&["custom.depth"], &["06:00 app.lines  : 4", "06:00 custom.depth worker.1 : 7 of 1"]),
        (&["dyno.memory_percent"], &["06:00 app.lines  : 4", "06:00 dyno.memory_percent web.1 : 50 of 1"]),
        (
            &["platform.errors", "custom.jobs"],
            &[
                "06:00 app.lines  : 4",
                "06:00 custom.jobs worker.1 : 3",
                "06:00 platform.errors web.1 R14: 1",
                "06:00 router.bytes web.1 : 100",
                "06:00 router.connect_ms web.1 : 1..1 of 1",
                "06:00 router.requests web.1 200: 1",
                "06:00 router.service_ms web.1 : 10..10 of 1",
            ],
        ),
        (&["dyno.load_1m"], &["06:00 app.lines  : 4"]),
    ];
    for (metrics, want) in cases {
        let mut recorder = Recorder::only(&metrics.iter().map(|&metric| metric.to_owned()).collect());
        read(&mut recorder, &lines, t("06:20"));
        assert_eq!(show(recorder.take()), want, "{metrics:?}");
        assert!(recorder.paths.all.is_empty() && recorder.refused == 0, "{metrics:?}");
    }
}
