//! The team's promises: a pure function of seed and start, well-framed bodies, and the story within its first minute.

use proptest::prelude::*;

use super::*;

const START_US: i64 = 1_778_140_800_000_000;
const SECOND_US: i64 = 1_000_000;

/// All lines of each app, frame by frame, by a naive walker.
fn run(team: &mut Team, steps_us: impl IntoIterator<Item = i64>) -> BTreeMap<&'static str, Vec<String>> {
    let mut lines: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut now_us = START_US;
    assert_eq!(team.step(now_us), [], "the first step starts the story");
    for step_us in steps_us {
        now_us += step_us;
        for batch in team.step(now_us) {
            let frames = frames(&batch.body);
            assert_eq!(frames.len(), batch.msg_count);
            assert!(batch.body.len() < BODY_BYTES_TARGET + 2_000);
            lines.entry(batch.app).or_default().extend(frames);
        }
    }
    lines
}

fn frames(mut body: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let blank = body.iter().position(|&byte| byte == b' ').unwrap();
        let count: usize = std::str::from_utf8(&body[..blank]).unwrap().parse().unwrap();
        frames.push(String::from_utf8(body[blank + 1..blank + 1 + count].to_vec()).unwrap());
        body = &body[blank + 1 + count..];
    }
    frames
}

fn seconds(team: &mut Team, count: usize) -> BTreeMap<&'static str, Vec<String>> {
    run(team, std::iter::repeat_n(SECOND_US, count))
}

fn count(lines: &[String], pattern: &str) -> usize {
    lines.iter().filter(|line| line.contains(pattern)).count()
}

#[test]
fn the_first_minute_shows_the_storm_the_timeouts_the_leak_and_the_crash_loop() {
    let lines = seconds(&mut Team::new(7), 58);
    let check = |app: &str, pattern: &str, at_least: usize| {
        let found = count(&lines[app], pattern);
        assert!(found >= at_least, "{app}: {found} of `{pattern}`, want {at_least}");
    };
    check("shop-web", " heroku router - at=error code=H12 ", 4);
    check("shop-web", "[CRITICAL] WORKER TIMEOUT (pid:", 3);
    check("billing-worker", " heroku worker.1 - Error R14 (Memory quota exceeded)", 2);
    check("api-prod", " app api - Deploy ", 1);
    check("api-prod", " app api - Release v42 created by user ", 1);
    check("api-prod", "State changed from starting to crashed", 4);
    check("api-prod", "Process exited with status 1\n", 4);
    check("api-prod", "at=error code=H10 desc=\"App crashed\"", 5);
    check("reports", " heroku router - at=info ", 20);
    assert_eq!(count(&lines["reports"], "at=error code=H10"), 0);
}

#[test]
fn the_story_goes_on_and_comes_back() {
    let lines = seconds(&mut Team::new(7), 1_300);
    let check = |app: &str, pattern: &str, want: usize| assert_eq!(count(&lines[app], pattern), want, "{pattern}");
    check("billing-worker", "Error R15 (Memory quota vastly exceeded)", 3);
    check("billing-worker", "State changed from up to crashed", 3);
    for version in ["v42", "v43", "v44", "v45", "v46"] {
        check("api-prod", &format!("Release {version} created"), 1);
    }
    check("api-prod", "Rollback to v41", 1);
    check("api-prod", "Rollback to v43", 1);
    check("reports", "State changed from up to complete", 3);
    // Between its storms the shop is calm.
    let calm = |line: &&String| line.contains(" heroku router - at=error") && line.contains("T08:05:");
    assert_eq!(lines["shop-web"].iter().filter(calm).count(), 0);
    let secrets = lines.values().map(|app| count(app, "Bearer sk_live_")).sum::<usize>();
    assert!(secrets > 0 && lines.values().any(|app| count(app, "<script>") > 0));
}

#[test]
fn quiet_hours_are_of_the_same_team_and_nothing_goes_wrong() {
    let (mut quiet, story) = (Team::quiet(7), Team::new(7));
    for app in Team::apps() {
        assert_eq!(quiet.drain_token(app), story.drain_token(app));
    }
    let lines = run(&mut quiet, std::iter::repeat_n(5 * SECOND_US, (QUIET_S / 5).unsigned_abs() as usize));
    for (app, lines) in &lines {
        for wrong in ["heroku router - at=error", "WORKER TIMEOUT (pid", "crashed", "Error L10"] {
            assert_eq!(count(lines, wrong), 0, "{app}: {wrong}");
        }
        let quoted = count(lines, "Error R14") - count(lines, "Error R14 means that memory is over its quota");
        assert_eq!(quoted, 0, "{app}");
        assert_eq!(count(lines, "Scaled to web@"), 1, "{app}");
    }
    assert_eq!(count(&lines["api-prod"], "Release v41 created"), 1);
    let memory = |line: &&String| line.contains(" worker.1 - ") && line.contains("sample#memory_rss=");
    let of = |line: &String| -> f64 {
        line.split_once("sample#memory_rss=").unwrap().1.split_once("MB").unwrap().0.parse().unwrap()
    };
    let grown: Vec<f64> = lines["billing-worker"].iter().filter(memory).map(of).collect();
    assert!(grown.is_sorted() && grown[0] < 170.0 && (375.0..380.1).contains(grown.last().unwrap()), "{grown:?}");
}

#[test]
fn router_lines_and_app_lines_share_request_ids() {
    let lines = seconds(&mut Team::new(7), 60);
    let id = |line: &String| Some(line.split_once("request_id=")?.1[..36].to_string());
    let shop = &lines["shop-web"];
    let routed: Vec<String> = shop.iter().filter(|line| line.contains(" router - ")).filter_map(id).collect();
    let logged: Vec<String> = shop.iter().filter(|line| line.contains(" host app ")).filter_map(id).collect();
    assert!(logged.len() > 20);
    assert!(logged.iter().filter(|id| routed.contains(id)).count() + 2 >= logged.len());
}

#[test]
fn stamps_never_lie_ahead_and_each_step_gives_its_own_lines() {
    let mut team = Team::new(3);
    team.step(START_US);
    for second in 1..=200 {
        let now_us = START_US + second * SECOND_US;
        for batch in team.step(now_us) {
            for frame in frames(&batch.body) {
                let at = frame.split(' ').nth(1).unwrap();
                let (low, high) = (whole(now_us - SECOND_US), whole(now_us));
                assert!((low.as_str()..=high.as_str()).contains(&&at[..19]), "{at} not in {low}..={high}");
            }
        }
    }
}

fn whole(at_us: i64) -> String {
    crate::traffic::stamp(at_us)[..19].to_string()
}

#[test]
fn seeds_and_frame_ids_differ_where_they_should() {
    assert_eq!(seconds(&mut Team::new(1), 30), seconds(&mut Team::new(1), 30));
    assert_ne!(seconds(&mut Team::new(1), 30), seconds(&mut Team::new(2), 30));
    let mut ids = std::collections::BTreeSet::new();
    for start_us in [START_US, START_US + 17] {
        let mut team = Team::new(1);
        team.step(start_us);
        for second in 1..60 {
            for batch in team.step(start_us + second * SECOND_US) {
                assert!(batch.frame_id.len() == 32 && ids.insert(batch.frame_id.clone()), "a repeated Frame-Id");
                assert_eq!(team.drain_token(batch.app), Some(batch.drain_token.as_str()));
            }
        }
    }
    assert_eq!(Team::apps(), ["shop-web", "billing-worker", "api-prod", "reports"]);
    assert_eq!(Team::new(1).drain_token("nobody"), None);
}

#[test]
fn a_long_pause_loses_the_oldest_lines_and_says_so() {
    let mut team = Team::new(1);
    team.step(START_US);
    let batches = team.step(START_US + 3_600 * SECOND_US);
    let shop: Vec<_> = batches.iter().filter(|batch| batch.app == "shop-web").collect();
    assert_eq!(shop.iter().map(|batch| batch.msg_count).sum::<usize>(), BUFFER_LINES_MAX + 1);
    let first = frames(&shop[0].body).remove(0);
    assert!(first.contains(" host heroku logplex - Error L10 (output buffer overflow): "), "{first}");
    assert!(first.ends_with("+00:00.") && !first.contains(".0"), "{first}");
    assert_eq!(team.step(START_US), [], "time that goes back gives nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However time is cut, the line stream is the same.
    #[test]
    fn cutting_time_differently_changes_no_line(seed in 0u64..4, cuts in prop::collection::vec(0i64..30 * SECOND_US, 1..30)) {
        let total: i64 = cuts.iter().sum();
        let by_cuts = run(&mut Team::new(seed), cuts);
        let whole_seconds = (total / SECOND_US).unsigned_abs() as usize;
        let rest = std::iter::once(total % SECOND_US);
        let by_seconds = run(&mut Team::new(seed), std::iter::repeat_n(SECOND_US, whole_seconds).chain(rest));
        prop_assert_eq!(by_cuts, by_seconds);
    }
}
