//! The state machine of a check, against a plain model and one transition at a time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::check::Flapping;

/// Ids that count.
struct Ids(u128);

impl NewId for Ids {
    fn new_id(&mut self, _now: Timestamp) -> Uuid {
        self.0 += 1;
        Uuid::from_u128(self.0)
    }
}

const INTERVAL: Duration = Duration::from_secs(60);

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// A check, its surroundings, and what it said.
struct Play {
    state: CheckState,
    thresholds: Thresholds,
    around: Around,
    ids: Ids,
    at: i64,
    told: Vec<String>,
    flips: BTreeMap<Timestamp, Standing>,
}

impl Play {
    fn new(fails: u32, oks: u32) -> Self {
        let thresholds = Thresholds { failures: fails, recoveries: oks, flapping: None, ..Thresholds::default() };
        Self {
            state: CheckState::default(),
            thresholds,
            around: Around::default(),
            ids: Ids(0),
            at: 0,
            told: Vec::new(),
            flips: BTreeMap::new(),
        }
    }

    /// One run a minute: `S`uccess, `F`ailure, `D`egraded, `U`nknown, `M`isconfigured, `!` a decisive failure. Around them:
    /// `(` `)` maintenance, `[` `]` blind, `<` `>` the parent fails, `{` `}` paused, `_` a minute without a run.
    fn runs(&mut self, runs: &str) -> &mut Self {
        for sign in runs.chars().filter(|sign| !sign.is_whitespace()) {
            let ran =
                |outcome| Some(Ran { at: t(self.at + 60), outcome, misconfigured: sign == 'M', decisive: sign == '!' });
            let ran = match sign {
                'S' => ran(Outcome::Up),
                'D' => ran(Outcome::Degraded),
                'F' | '!' => ran(Outcome::Down),
                'U' | 'M' => ran(Outcome::Unknown),
                _ => None,
            };
            match sign {
                '(' | ')' => self.around.maintenance = sign == '(',
                '[' | ']' => self.around.blind = sign == '[',
                '{' | '}' => self.around.paused = sign == '{',
                '<' | '>' => self.around.failing_parent = (sign == '<').then(|| "parent".to_owned()),
                _ => self.at += 60,
            }
            if sign != '_' {
                self.step(ran);
            }
        }
        self
    }

    fn step(&mut self, ran: Option<Ran>) {
        // What is stored comes back as it was.
        let json = serde_json::to_string(&self.state).unwrap();
        self.state = serde_json::from_str(&json).unwrap();
        let minute = self.at / 60;
        let effects = self.state.step(&self.thresholds, INTERVAL, ran, &self.around, &mut self.ids, t(self.at));
        for effect in effects {
            let text = match effect {
                Effect::Flip(flip) => {
                    self.flips.insert(flip.at, flip.standing);
                    continue;
                }
                Effect::Opened { id, why, began_at } => {
                    format!("opened {} {why:?} since {}", id.as_u128(), began_at.as_seconds() / 60)
                }
                Effect::Again { id, why } => format!("again {} {why:?}", id.as_u128()),
                Effect::Held { id, by, .. } => format!("held {} {by:?}", id.as_u128()),
                Effect::Resolved { id, began_at, ended_at, settled } => {
                    let minutes = ended_at.since(began_at).as_secs() / 60;
                    format!("resolved {} after {minutes}{}", id.as_u128(), if settled { " settled" } else { "" })
                }
                Effect::Suppressed { id, by, .. } => format!("suppressed {} {by:?}", id.as_u128()),
                Effect::Dropped { id } => format!("dropped {}", id.as_u128()),
            };
            self.told.push(format!("{minute}: {text}"));
        }
    }

    #[track_caller]
    fn told(&mut self, want: &[&str]) -> &mut Self {
        assert_eq!(std::mem::take(&mut self.told), want, "{:?}", self.state);
        self
    }

    #[track_caller]
    fn shown(&mut self, want: Shown) -> &mut Self {
        assert_eq!(self.state.shown(), want, "{:?}", self.state);
        self
    }

    #[track_caller]
    fn flips(&self, want: &[(i64, Standing)]) {
        let got: Vec<(i64, Standing)> =
            self.flips.iter().map(|(at, standing)| (at.as_seconds() / 60, *standing)).collect();
        assert_eq!(got, want);
    }
}

#[test]
fn thresholds_of_failures_and_of_successes() {
    // A9: F=3, S=2.
    let mut play = Play::new(3, 2);
    play.runs("FFSFFFFSFS").shown(Shown::Recovering).told(&["6: opened 1 Down since 4"]);
    play.runs("S").shown(Shown::Up).told(&["11: resolved 1 after 6"]);
    play.flips(&[(1, Standing::Unknown), (3, Standing::Up), (4, Standing::Down), (10, Standing::Up)]);
    // The next outage has an id of its own.
    play.runs("FFF").told(&["14: opened 2 Down since 12"]);
}

#[test]
fn times_instead_of_counts() {
    let mut play = Play::new(100, 1);
    play.thresholds.failing_for = Some(Duration::from_secs(180));
    play.thresholds.recovering_for = Some(Duration::from_secs(120));
    play.runs("SFFF").shown(Shown::Suspect).told(&[]);
    play.runs("F").told(&["5: opened 1 Down since 2"]);
    // A failure starts the recovery anew.
    play.runs("SSFSS").shown(Shown::Recovering).runs("S").told(&["11: resolved 1 after 7"]);
    // Time that nobody saw does not count.
    play.runs("FU__F").shown(Shown::Suspect).runs("FF").told(&[]).runs("F").told(&["19: opened 2 Down since 12"]);
}

#[test]
fn unknown_is_neither() {
    let mut play = Play::new(2, 2);
    play.runs("SUUU").shown(Shown::Unknown).told(&[]);
    play.runs("FU").shown(Shown::Suspect).runs("F").told(&["7: opened 1 Down since 5"]);
    play.runs("SUS").told(&["10: resolved 1 after 3"]);
    play.flips(&[
        (1, Standing::Up),
        (2, Standing::Unknown),
        (5, Standing::Up),
        (6, Standing::Unknown),
        (7, Standing::Down),
        (9, Standing::Unknown),
        (10, Standing::Up),
    ]);
    // Misconfigured pages nobody, and does not end what goes on.
    play.runs("MMMM").shown(Shown::Misconfigured).told(&[]).runs("S").shown(Shown::Up);
    play.runs("FFM").shown(Shown::Misconfigured).runs("F").shown(Shown::Down).told(&["17: opened 2 Down since 16"]);
}

#[test]
fn decisive_failures_need_no_second() {
    Play::new(3, 1).runs("S!").told(&["2: opened 1 Down since 2"]).runs("!S").told(&["4: resolved 1 after 2"]);
}

#[test]
fn degraded_counts_as_up_unless_it_is_to_be_told() {
    let mut play = Play::new(2, 1);
    play.runs("SDDD").shown(Shown::Degraded).told(&[]).runs("FF").shown(Shown::Down).runs("D").shown(Shown::Degraded);
    play.told(&["6: opened 1 Down since 5", "7: resolved 1 after 2"]);
    play.thresholds.tell_degraded = true;
    play.runs("DD")
        .shown(Shown::Degraded)
        .told(&["9: opened 2 Down since 8"])
        .runs("FDS")
        .told(&["12: resolved 2 after 4"]);
    play.flips(&[
        (1, Standing::Up),
        (2, Standing::Degraded),
        (5, Standing::Down),
        (7, Standing::Degraded),
        (10, Standing::Down),
        (11, Standing::Degraded),
        (12, Standing::Up),
    ]);
}

#[test]
fn flapping_is_told_once_and_when_it_settles() {
    // A10: 20 alternations with thresholds 1/1 and 6 changes in 10 minutes.
    let mut play = Play::new(1, 1);
    play.thresholds.flapping =
        Some(Flapping { transitions: 6, window: Duration::from_secs(600), quiet: Duration::from_secs(300) });
    play.runs("S FSFSF S").shown(Shown::Flapping).told(&[
        "2: opened 1 Down since 2",
        "3: resolved 1 after 1",
        "4: opened 2 Down since 4",
        "5: resolved 2 after 1",
        "6: opened 3 Down since 6",
        "7: again 3 Flapping",
    ]);
    play.runs("FSFSFSFSFSFSFS").shown(Shown::Flapping).told(&[]);
    play.runs("SSSS")
        .shown(Shown::Flapping)
        .told(&[])
        .runs("S")
        .shown(Shown::Up)
        .told(&["26: resolved 3 after 15 settled"]);
    // It may settle the other way, and ends like any outage then.
    play.runs("FSFSFS FFFFFF").shown(Shown::Down);
    play.told(&[
        "27: opened 4 Down since 27",
        "28: resolved 4 after 1",
        "29: opened 5 Down since 29",
        "30: resolved 5 after 1",
        "31: opened 6 Down since 31",
        "32: again 6 Flapping",
        "38: again 6 SettledDown",
    ]);
    play.runs("S").told(&["39: resolved 6 after 8"]);
}

#[test]
fn maintenance_holds_what_begins_and_never_what_ends() {
    // A18: what is still true after it is told after one run of grace.
    let mut play = Play::new(1, 1);
    play.runs("S(SFFF").shown(Shown::Maintenance).told(&["3: held 1 Maintenance"]);
    play.runs(")").told(&[]).runs("F").shown(Shown::Down).told(&[]).runs("F").told(&["7: opened 1 Down since 3"]);
    play.runs("S").told(&["8: resolved 1 after 5"]);
    play.flips(&[(1, Standing::Maintenance), (5, Standing::Down), (8, Standing::Up)]);
    // What is over by its end is recorded, not told.
    play.runs("(FFS")
        .told(&["9: held 2 Maintenance", "11: suppressed 2 Some(Maintenance)"])
        .runs(")S")
        .shown(Shown::Up);
    // What was open before goes on, and its end is told inside.
    play.runs("F(FF").told(&["13: opened 3 Down since 13"]).runs("S)").told(&["16: resolved 3 after 3"]);
    // A success uses the grace up, too.
    play.runs("(F)S")
        .told(&["17: held 4 Maintenance", "18: suppressed 4 Some(Maintenance)"])
        .runs("F")
        .told(&["19: opened 5 Down since 19"]);
}

#[test]
fn a_failing_parent_holds_its_children() {
    let parent = "Parent { name: \"parent\" }";
    let mut play = Play::new(2, 1);
    play.runs("S<FF").shown(Shown::Down).told(&[&format!("3: held 1 {parent}")]);
    play.runs("FS>").told(&[&format!("5: suppressed 1 Some({parent})")]);
    // Still failing when the parent is well again: told after one more failing run.
    play.runs("<FF>")
        .told(&[&format!("7: held 2 {parent}")])
        .runs("F")
        .told(&[])
        .runs("F")
        .told(&["9: opened 2 Down since 6"]);
    // Known before the parent fails: its end is told.
    play.runs("<FS").told(&["11: resolved 2 after 5"]);
}

#[test]
fn blind_is_unknown_and_tells_nothing() {
    let mut play = Play::new(2, 1);
    play.runs("SS[FFFFF").shown(Shown::Blind).told(&[]).runs("]").told(&[]).runs("S").shown(Shown::Up).told(&[]);
    play.flips(&[(1, Standing::Up), (2, Standing::Unknown), (8, Standing::Up)]);
}

#[test]
fn paused_closes_without_a_word_and_begins_anew() {
    let mut play = Play::new(2, 1);
    play.runs("FF").told(&["2: opened 1 Down since 1"]).runs("{FF").shown(Shown::Paused).told(&["2: dropped 1"]);
    play.runs("}").shown(Shown::New).runs("F").shown(Shown::Suspect).runs("F").told(&["6: opened 2 Down since 5"]);
    play.flips(&[(1, Standing::Down), (2, Standing::Paused), (4, Standing::Unknown), (5, Standing::Down)]);
}

#[test]
fn a_time_without_runs_is_unknown() {
    let mut play = Play::new(2, 1);
    play.runs("SS__________S").told(&[]);
    play.flips(&[(1, Standing::Up), (3, Standing::Unknown), (13, Standing::Up)]);
    // One missed run is none.
    play.runs("S_S");
    play.flips(&[(1, Standing::Up), (3, Standing::Unknown), (13, Standing::Up)]);
    play.runs("FF__________FS").told(&["18: opened 1 Down since 17", "30: resolved 1 after 13"]);
}

#[test]
fn it_runs_faster_while_it_is_suspect() {
    let (slow, fast) = (Duration::from_secs(60), Duration::from_secs(10));
    let mut play = Play::new(2, 2);
    for (runs, want) in [("S", slow), ("F", fast), ("F", slow), ("S", slow), ("S", slow)] {
        play.runs(runs);
        assert_eq!(play.state.interval(slow, fast), want, "{runs}");
    }
}

/// What the machine must do, said as plainly as can be: counts of a list.
#[derive(Default)]
struct Naive {
    seen: Vec<bool>,
    down: bool,
}

impl Naive {
    fn last_in_a_row(&self, kind: bool) -> usize {
        self.seen.iter().rev().take_while(|seen| **seen == kind).count()
    }

    fn run(&mut self, sign: char, fails: u32, oks: u32) {
        match sign {
            'F' => self.seen.push(false),
            'S' | 'D' => self.seen.push(true),
            _ => return,
        }
        if self.last_in_a_row(false) >= fails as usize {
            self.down = true;
        }
        if self.last_in_a_row(true) >= oks as usize {
            self.down = false;
        }
    }
}

proptest! {
    #[test]
    fn as_a_naive_model_has_it(runs in "[FFSSUDM]{0,60}", fails in 1_u32..5, oks in 1_u32..5) {
        let mut play = Play::new(fails, oks);
        let mut naive = Naive::default();
        for sign in runs.chars() {
            play.runs(&sign.to_string());
            naive.run(sign, fails, oks);
            prop_assert_eq!(play.state.outage().is_some(), naive.down, "{} in {}", sign, runs);
            prop_assert_eq!(play.state.phase().is_down(), naive.down);
        }
    }

    /// Whatever surrounds it: nothing is opened while it is held, every alert that was opened is closed once at most and
    /// under its own id, and an alert that nobody opened is never resolved. Flips stand in order and change something.
    #[test]
    fn what_surrounds_it_changes_who_is_told_and_nothing_else(
        signs in "[FFFSSSUD()<>\\[\\]{}_!M]{0,120}", fails in 1_u32..4, oks in 1_u32..4, flaps: bool, tell_degraded: bool,
    ) {
        let mut play = Play::new(fails, oks);
        play.thresholds.tell_degraded = tell_degraded;
        play.thresholds.flapping = flaps.then_some(Flapping { transitions: 4, window: Duration::from_secs(600), quiet: Duration::from_secs(300) });
        let (mut open, mut all) = (BTreeMap::new(), Vec::new());
        for sign in signs.chars() {
            let in_a_row = play.told.len();
            play.runs(&sign.to_string());
            let held = play.around.held().is_some();
            for told in play.told.split_off(in_a_row) {
                let mut words = told.split(' ').skip(1);
                let (what, id) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
                match what.as_str() {
                    "opened" => {
                        prop_assert!(!held, "{} in {}", told, signs);
                        prop_assert!(open.is_empty() && !all.contains(&id), "{} in {}", told, signs);
                        open.insert(id.clone(), ());
                        all.push(id);
                    }
                    "again" => prop_assert!(open.contains_key(&id)),
                    "resolved" | "dropped" => prop_assert!(open.remove(&id).is_some(), "{} in {}", told, signs),
                    _ => prop_assert!(!open.contains_key(&id) && !all.contains(&id)),
                }
            }
            let opened = play.state.outage().is_some_and(|outage| outage.opened);
            prop_assert_eq!(opened, !open.is_empty());
        }
        let flips: Vec<Standing> = play.flips.values().copied().collect();
        prop_assert_eq!(play.flips.last_key_value().map(|(_, standing)| *standing), play.state.flip().map(|flip| flip.standing));
        prop_assert!(flips.len() <= signs.len());
    }

    /// Held or not, what is measured is the same.
    #[test]
    fn holding_never_changes_what_is_measured(runs in "[FSUD<>]{0,60}", fails in 1_u32..4, oks in 1_u32..4) {
        let (mut held, mut free) = (Play::new(fails, oks), Play::new(fails, oks));
        let runs = format!("S{runs}");
        held.runs(&runs);
        free.runs(&runs.replace(['<', '>'], ""));
        prop_assert_eq!(held.state.phase(), free.state.phase());
        prop_assert_eq!(held.flips, free.flips);
    }
}
