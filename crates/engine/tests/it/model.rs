//! Random lives of one key against the contract, told plainly: batches, late and repeated ones, time, and crashes.
//!
//! The model keeps every stamp and reads C1, C2, C5, C6 and C9 aloud; it knows no store, no packed events and no version.
//! After every act it must agree with the engine on every message, and at the end on every alert.

use proptest::prelude::*;
use proptest::test_runner::{Config as TestConfig, TestRunner};

use dynowatch_domain::Timestamp;
use dynowatch_domain::rule::Rule;
use dynowatch_store::alerts::AlertState;

use crate::harness::{Config, On, Stage, at, count, h12_rule, offset, request, seconds};

const NEEDED: usize = 3;
const WINDOW_S: i64 = 60;
const COOLDOWN_S: i64 = 90;
const RESOLVE_AFTER_S: i64 = 40;

/// What happens next.
#[derive(Debug, Clone)]
enum Act {
    /// A batch whose lines were stamped so many seconds before (or, below zero, after) now.
    Batch(Vec<i64>),
    /// So many seconds nothing was looked at, and then such a batch goes before the timers that are overdue.
    Late(i64, Vec<i64>),
    /// Such a batch, and the process dies before anything is sent.
    BatchThenCrash(Vec<i64>),
    /// Logplex sends the last batch again.
    Repeat,
    Wait(i64),
    /// The process dies and starts again so many seconds later.
    Crash(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let lines = || prop::collection::vec(prop_oneof![8 => 0_i64..20, 2 => 0_i64..150, 1 => -400_i64..0], 1..4);
    let act = prop_oneof![
        6 => lines().prop_map(Act::Batch),
        1 => (1_i64..300, lines()).prop_map(|(gap, lines)| Act::Late(gap, lines)),
        1 => lines().prop_map(Act::BatchThenCrash),
        2 => Just(Act::Repeat),
        4 => (1_i64..60).prop_map(Act::Wait),
        1 => (60_i64..300).prop_map(Act::Wait),
        2 => prop_oneof![Just(0_i64), 1_i64..90].prop_map(Act::Crash),
    ];
    prop::collection::vec(act, 1..40)
}

#[derive(Debug)]
struct Open {
    fired_at: i64,
    holds_until: i64,
    told: bool,
    held_back: u64,
}

/// Seconds after the beginning; nothing here is finer.
#[derive(Debug, Default)]
struct Model {
    now: i64,
    stamps: Vec<i64>,
    open: Option<Open>,
    cooldown_until: i64,
    /// Messages that were decided on and not yet sent.
    outbox: Vec<String>,
    fired: usize,
    resolved: usize,
}

impl Model {
    fn count_at(&self, end: i64) -> usize {
        self.stamps.iter().filter(|&&s| s > end - WINDOW_S && s <= end).count()
    }

    /// Until when the condition holds with this stamp in the window; `None` when it does not.
    fn holds_until(&self, stamp: i64) -> Option<i64> {
        let ends = self.stamps.iter().copied().filter(|&end| end >= stamp && end < stamp + WINDOW_S);
        let last = ends.filter(|&end| self.count_at(end) >= NEEDED).max()?;
        let mut before: Vec<i64> = self.stamps.iter().copied().filter(|&s| s <= last).collect();
        before.sort_unstable();
        Some(before[before.len() - NEEDED] + WINDOW_S)
    }

    fn say(&mut self, what: &str, held_back: u64) {
        let held_back = if held_back == 0 { String::new() } else { format!(", {held_back} held back") };
        self.outbox.push(format!("operator: [{what}] h12 on shop{held_back}"));
        if what != "resolved" {
            self.cooldown_until = self.now + COOLDOWN_S;
        }
    }

    /// When something happens by itself.
    fn due(&self) -> Option<i64> {
        let open = self.open.as_ref()?;
        let resolve = open.holds_until.max(open.fired_at) + RESOLVE_AFTER_S;
        Some(if open.told { resolve } else { resolve.min(self.cooldown_until) })
    }

    fn timers(&mut self) {
        while self.due().is_some_and(|due| due <= self.now) {
            let Some(open) = &mut self.open else { return };
            let resolve = open.holds_until.max(open.fired_at) + RESOLVE_AFTER_S;
            if !open.told && self.cooldown_until < resolve {
                open.told = true;
                let held_back = std::mem::take(&mut open.held_back);
                self.say("firing", held_back);
            } else {
                let told = open.told;
                self.open = None;
                self.resolved += 1;
                self.stamps.retain(|&s| s > self.now - WINDOW_S);
                match self.outbox.last_mut() {
                    // What has not left yet says both (C23).
                    Some(unsent) => {
                        *unsent = unsent
                            .replace("[firing]", "[fired and resolved]")
                            .replace("[still firing]", "[fired and resolved]")
                    }
                    None if told => self.say("resolved", 0),
                    None => {}
                }
            }
        }
    }

    fn line(&mut self, stamp: i64) {
        self.stamps.push(stamp);
        let holds_until = self.holds_until(stamp);
        let now = self.now;
        match (&mut self.open, holds_until) {
            (None, None) => {}
            (None, Some(until)) => {
                let told = now >= self.cooldown_until;
                self.open = Some(Open { fired_at: now, holds_until: until.max(now), told, held_back: 0 });
                self.fired += 1;
                if told {
                    self.say("firing", 0);
                }
            }
            (Some(open), None) => open.held_back += 1,
            (Some(open), Some(until)) => {
                open.holds_until = open.holds_until.max(until).max(now);
                if now < self.cooldown_until {
                    open.held_back += 1;
                } else {
                    let held_back = std::mem::take(&mut open.held_back);
                    self.say("still firing", held_back);
                }
            }
        }
    }

    fn batch(&mut self, stamps: &[i64]) {
        self.timers();
        for &stamp in stamps {
            self.line(if stamp > self.now + 300 { self.now } else { stamp });
        }
    }

    /// Whatever the outbox holds arrives now.
    fn sent(&mut self) -> Vec<String> {
        let now = offset(time(self.now));
        self.outbox.drain(..).map(|message| format!("{now} {message}")).collect()
    }

    /// Time passes second by second, and everything is on time.
    fn until(&mut self, target: i64) -> Vec<String> {
        let mut sent = Vec::new();
        while self.now < target {
            self.now = self.due().map_or(target, |due| due.clamp(self.now + 1, target));
            self.timers();
            sent.extend(self.sent());
        }
        sent
    }
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_micros(at("0:00").as_micros() + second * 1_000_000)
}

fn rule() -> Rule {
    let length = |s: i64| seconds(s.unsigned_abs());
    let rule = count("h12", h12_rule().matches, ">= 3", WINDOW_S.unsigned_abs());
    Rule { cooldown: length(COOLDOWN_S), resolve_after: length(RESOLVE_AFTER_S), send_resolved: true, ..rule }
}

struct Play {
    stage: Stage,
    model: Model,
    frame: u32,
    last: Vec<String>,
}

impl Play {
    /// The stage is told the same as the model.
    fn agree(&mut self, mut expected: Vec<String>) {
        expected.extend(self.model.sent());
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        self.stage.told(&expected);
    }

    async fn batch(&mut self, ages: &[i64]) {
        let stamps: Vec<i64> = ages.iter().map(|age| self.model.now - age).collect();
        self.last = stamps.iter().map(|&stamp| request(time(stamp), "web.1", "H12", 503)).collect();
        self.frame += 1;
        let id = format!("model-{}", self.frame);
        self.stage.post_frame("shop", &id, &self.last.clone()).await.unwrap();
        self.model.batch(&stamps);
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::Batch(ages) => {
                self.batch(ages).await;
                self.stage.passes().await;
                self.agree(Vec::new());
            }
            Act::Late(gap, ages) => {
                self.model.now += gap;
                self.stage.clock.set(time(self.model.now));
                self.batch(ages).await;
                self.stage.passes().await;
                self.agree(Vec::new());
            }
            Act::BatchThenCrash(ages) => {
                self.batch(ages).await;
                self.stage.restart().await;
                self.agree(Vec::new());
            }
            Act::Repeat if self.frame == 0 => {}
            Act::Repeat => {
                let id = format!("model-{}", self.frame);
                self.stage.post_frame("shop", &id, &self.last.clone()).await.unwrap();
                self.stage.passes().await;
                self.agree(Vec::new());
            }
            Act::Wait(s) => self.wait(*s).await,
            Act::Crash(gap) => {
                self.stage.crash();
                self.model.now += gap;
                self.stage.nobody_until(&offset(time(self.model.now)));
                self.stage.start().await;
                self.model.timers();
                self.agree(Vec::new());
            }
        }
    }

    async fn wait(&mut self, s: i64) {
        let target = self.model.now + s;
        self.stage.until_time(time(target)).await;
        let sent = self.model.until(target);
        self.agree(sent);
    }
}

async fn live(acts: Vec<Act>) {
    let config = Config { levels: false, ..Config::of(vec![rule()]) };
    let mut play = Play {
        stage: Stage::configured(On::Sqlite, config).await,
        model: Model::default(),
        frame: 0,
        last: Vec::new(),
    };
    for act in &acts {
        play.act(act).await;
    }
    // Every alert ends in the end, once.
    play.wait(1_000).await;
    let alerts = play.stage.alerts().await;
    assert_eq!((alerts.len(), play.model.resolved), (play.model.fired, play.model.fired));
    assert!(alerts.iter().all(|alert| alert.row.state == AlertState::Resolved), "{alerts:#?}");
}

#[test]
fn lives_of_a_key_follow_the_contract() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(TestConfig { cases: 40, failure_persistence: None, ..TestConfig::default() });
    runner
        .run(&acts(), |acts| {
            runtime.block_on(live(acts));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
