//! Rules at work on keys: events, verdicts, timers and operators' words go in, changes for the store come out. No input or
//! output here: `serve` calls it inside the store's transaction, `replay` calls it alone, and both get the same answers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::alert::{Effect, Facts, NoticeKind, ResolveReason, Track, Verdict};
use dynowatch_domain::blind::Blind;
use dynowatch_domain::evidence::{EVIDENCE_LINES_MAX, EvidenceLine};
use dynowatch_domain::key::Key;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::release::Release;
use dynowatch_domain::rule::{Condition, Rule};
use dynowatch_domain::window::{Counted, Window};
use dynowatch_domain::{AlertId, AppId, DeliveryId, NewId, Timestamp};
use dynowatch_store::{
    AlertDetails, AlertUpdate, Changes, FiredAlert, NewDelivery, ResolveNotice, ResolvedAlert, TrackChange,
};

use crate::notices::{NoticeParts, notice};

/// A key's state in memory, as of `version` in the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) version: i64,
    pub(crate) track: Track,
    pub(crate) window: Window,
    /// The newest matched lines, which become evidence.
    pub(crate) lines: VecDeque<EvidenceLine>,
}

impl Held {
    /// Whether nothing is open, no cool-down runs, and nothing has matched for `rest`.
    pub(crate) fn is_idle(&self, now: Timestamp, rest: Duration) -> bool {
        self.track.is_idle(now) && self.window.newest_arrival().is_none_or(|at| now.since(at) >= rest)
    }

    /// When a timer of the key is due. Ratios, absences and thresholds are woken by being judged: a timer alone would
    /// resolve what nobody has looked at.
    pub(crate) fn next_wake(&self, rule: &Rule) -> Option<Timestamp> {
        self.track.next_wake(rule).filter(|_| matches!(rule.condition, Condition::Count { .. }))
    }
}

/// New matches of one key.
pub(crate) struct NewMatches {
    pub(crate) events: Vec<Counted>,
    pub(crate) lines: Vec<EvidenceLine>,
    pub(crate) request_id: Vec<u8>,
    pub(crate) dyno: Vec<u8>,
}

/// What happens to a key.
pub(crate) enum Input {
    /// Lines its count rule took.
    Matches(NewMatches),
    /// Its ratio or absence was judged.
    Verdict(Verdict),
    /// A check said something that is to be told.
    Check {
        /// The id of its outage, which the alert that fires takes.
        alert: Option<AlertId>,
        /// What it said.
        verdict: Verdict,
        /// What it saw.
        lines: Vec<EvidenceLine>,
    },
    /// A timer may be due.
    Wake,
    /// Close what is open.
    Close(ResolveReason),
}

impl Input {
    /// The same once more, for a second try. Matches are committed by other ways and have none.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Verdict(verdict) => Self::Verdict(verdict.clone()),
            Self::Close(reason) => Self::Close(reason.clone()),
            Self::Check { alert, verdict, lines } => {
                Self::Check { alert: *alert, verdict: verdict.clone(), lines: lines.clone() }
            }
            Self::Wake | Self::Matches(_) => Self::Wake,
        }
    }
}

/// What lines stood around a match.
pub(crate) type Context<'a> = &'a (dyn Fn(AppId, &NewMatches, &[EvidenceLine]) -> Vec<EvidenceLine> + Sync);

/// Everything a decision may look at, besides the key itself.
pub(crate) struct Scene<'a> {
    pub(crate) now: Timestamp,
    pub(crate) app_names: &'a (dyn Fn(AppId) -> String + Sync),
    pub(crate) releases: &'a HashMap<AppId, VecDeque<Release>>,
    pub(crate) blinds: &'a [(Option<AppId>, Blind)],
    pub(crate) context: Context<'a>,
    pub(crate) masker: &'a Masker,
    pub(crate) public_url: Option<&'a str>,
}

impl Scene<'_> {
    fn blinds(&self, app: AppId, from: Timestamp, until: Timestamp) -> Vec<&Blind> {
        self.blinds
            .iter()
            .filter(|(of, blind)| of.is_none_or(|of| of == app) && blind.meets(from, until))
            .map(|(_, blind)| blind)
            .collect()
    }

    /// Those of them in which lines may have been lost: what counts are judged by.
    fn losses(&self, app: AppId, from: Timestamp, until: Timestamp) -> Vec<&Blind> {
        let mut losses = self.blinds(app, from, until);
        losses.retain(|blind| blind.hides_lines());
        losses
    }

    fn newest_release(&self, app: AppId, before: Timestamp) -> Option<&Release> {
        self.releases.get(&app)?.iter().filter(|release| release.at <= before).max_by_key(|release| release.at)
    }
}

/// Takes `input` for one key and adds what must be stored to `changes`.
pub(crate) fn apply(
    held: &mut Held,
    key: &Key,
    rule: &Rule,
    input: Input,
    scene: &Scene<'_>,
    ids: &mut dyn NewId,
    changes: &mut Changes,
) {
    let before = held.track.clone();
    let (mut events, mut lines, mut context) = (Vec::new(), Vec::new(), Vec::new());
    // A key that was due is stored even if nothing came of it, as after a change of its rule: else it stays due.
    let was_due = matches!(input, Input::Wake);
    let (effects, consumed_before) = match input {
        Input::Wake if slept_through(held, key, rule, scene) => {
            (held.track.observe(rule, Verdict::Unknown, scene.now, ids), None)
        }
        Input::Wake => woken(held, rule, scene, ids),
        Input::Close(reason) => {
            let effects = held.track.close(reason);
            let consumed_before = consume(held, rule, &effects, scene);
            (effects, consumed_before)
        }
        Input::Verdict(verdict) => {
            (held.track.observe(rule, with_blinds(verdict, key, rule, scene), scene.now, ids), None)
        }
        Input::Check { alert, verdict, lines: seen } => {
            for line in &seen {
                keep_line(held, line.clone());
            }
            lines = seen;
            let mut ids = Given { first: alert.map(|alert| alert.0), then: &mut *ids };
            (held.track.observe(rule, verdict, scene.now, &mut ids), None)
        }
        Input::Matches(mut matches) => {
            // What is overdue goes first, so that an alert that resolves takes its lines with it and not these.
            let (mut effects, consumed_before) = woken(held, rule, scene, ids);
            for event in &mut matches.events {
                // Counted now, however long they waited for it: what an alert consumed came before.
                event.arrived = scene.now;
            }
            effects.extend(observe_matches(held, key, rule, &matches, scene, ids));
            if effects.iter().any(|effect| matches!(effect, Effect::Fired { .. })) {
                context = (scene.context)(key.app, &matches, held.lines.make_contiguous());
            }
            (events, lines) = (matches.events, matches.lines);
            (effects, consumed_before)
        }
    };
    if effects.is_empty() && events.is_empty() && !was_due && held.track == before {
        return;
    }
    record(held, key, rule, &effects, context, scene, ids, changes);
    held.version += 1;
    let next_wake_at = held.next_wake(rule);
    let place = |track: &Track| (std::mem::discriminant(&track.phase), track.firing().map(|firing| firing.alert));
    changes.tracks.push(TrackChange {
        moved: place(&held.track) != place(&before),
        key: key.clone(),
        version: held.version,
        track: held.track.clone(),
        next_wake_at,
        events,
        lines,
        consumed_before,
    });
}

/// Ids of which the first is given.
struct Given<'a> {
    first: Option<uuid::Uuid>,
    then: &'a mut dyn NewId,
}

impl NewId for Given<'_> {
    fn new_id(&mut self, now: Timestamp) -> uuid::Uuid {
        self.first.take().unwrap_or_else(|| self.then.new_id(now))
    }
}

fn keep_line(held: &mut Held, line: EvidenceLine) {
    if held.lines.len() == EVIDENCE_LINES_MAX {
        held.lines.pop_front();
    }
    held.lines.push_back(line);
}

fn woken(held: &mut Held, rule: &Rule, scene: &Scene<'_>, ids: &mut dyn NewId) -> (Vec<Effect>, Option<Timestamp>) {
    let effects = held.track.wake(rule, scene.now, ids);
    let consumed_before = consume(held, rule, &effects, scene);
    (effects, consumed_before)
}

/// Forgets what an alert that has resolved was about. Returns up to which stamp.
fn consume(held: &mut Held, rule: &Rule, effects: &[Effect], scene: &Scene<'_>) -> Option<Timestamp> {
    if !effects.iter().any(|effect| matches!(effect, Effect::Resolved { .. })) {
        return None;
    }
    let window = rule.condition.window();
    held.window.consume(scene.now, window);
    Some(scene.now - window)
}

/// Whether the share or silence behind an open alert may have gone on while we were blind: its timer rests on looks that
/// nobody made. A count knows the end of its condition from its own lines.
fn slept_through(held: &Held, key: &Key, rule: &Rule, scene: &Scene<'_>) -> bool {
    let counted = matches!(rule.condition, Condition::Count { .. });
    held.track
        .firing()
        .is_some_and(|firing| !counted && !scene.blinds(key.app, firing.holds_until, scene.now).is_empty())
}

fn observe_matches(
    held: &mut Held,
    key: &Key,
    rule: &Rule,
    matches: &NewMatches,
    scene: &Scene<'_>,
    ids: &mut dyn NewId,
) -> Vec<Effect> {
    let Condition::Count { threshold, window } = &rule.condition else { return Vec::new() };
    for line in &matches.lines {
        keep_line(held, line.clone());
    }
    let mut effects = Vec::new();
    for event in &matches.events {
        let reading = held.window.push(*event, threshold.needed(), *window);
        let from = event.at - *window;
        let facts = Facts {
            count: reading.count as u64,
            of: None,
            level: None,
            lower_bound: reading.lower_bound || !scene.losses(key.app, from, event.at).is_empty(),
            at: event.at,
            first_at: held.window.first_after(from).unwrap_or(event.at),
            last_at: event.at,
        };
        let verdict = match reading.holds_until {
            Some(until) => Verdict::Holds { facts, until, fresh: true },
            None => Verdict::Fails { matched: Some(facts) },
        };
        effects.extend(held.track.observe(rule, verdict, scene.now, ids));
    }
    effects
}

/// Marks a verdict's count as a lower bound where lines are known to be missing.
fn with_blinds(verdict: Verdict, key: &Key, rule: &Rule, scene: &Scene<'_>) -> Verdict {
    match verdict {
        Verdict::Holds { facts, until, fresh } => {
            let blind = !scene.blinds(key.app, scene.now - rule.condition.window(), scene.now).is_empty();
            Verdict::Holds { facts: Facts { lower_bound: facts.lower_bound || blind, ..facts }, until, fresh }
        }
        other => other,
    }
}

#[expect(clippy::too_many_arguments, reason = "one step of `apply`, split off to be read alone")]
fn record(
    held: &Held,
    key: &Key,
    rule: &Rule,
    effects: &[Effect],
    context: Vec<EvidenceLine>,
    scene: &Scene<'_>,
    ids: &mut dyn NewId,
    changes: &mut Changes,
) {
    let mut context = Some(context);
    for effect in effects {
        if let Some(alert) = effect.alert() {
            changes.decisions.push((alert, scene.now, effect.clone()));
        }
        match effect {
            Effect::Fired { alert, previous, facts, silent_until } => {
                let mut evidence: Vec<EvidenceLine> = evidence(held, facts).cloned().collect();
                evidence.extend(context.take().unwrap_or_default());
                changes.fired.push(FiredAlert {
                    id: *alert,
                    key: key.clone(),
                    severity: rule.severity,
                    fired_at: scene.now,
                    previous: *previous,
                    facts: facts.clone(),
                    told: silent_until.is_none(),
                    details: details(key, rule, facts, scene),
                    evidence,
                });
            }
            Effect::Notify { alert, kind, facts, suppressed, .. } => {
                let over =
                    effects.iter().any(|other| matches!(other, Effect::Resolved { alert: of, .. } if of == alert));
                let parts = NoticeParts {
                    resolved_at: over.then_some(scene.now),
                    ..parts(held, key, rule, *alert, *kind, facts, *suppressed, scene)
                };
                changes.updates.push(AlertUpdate { alert: *alert, facts: facts.clone(), told: true, evidence: None });
                for receiver in &rule.receivers {
                    changes.deliveries.push(NewDelivery {
                        id: DeliveryId(ids.new_id(scene.now)),
                        alert: Some(*alert),
                        receiver: receiver.clone(),
                        kind: *kind,
                        notice: notice(&parts),
                        send_resolved: rule.send_resolved,
                        intended_at: scene.now,
                    });
                }
            }
            Effect::Resolved { alert, reason, facts, told } => {
                changes.resolved.push(ResolvedAlert {
                    alert: *alert,
                    at: scene.now,
                    reason: reason.clone(),
                    facts: facts.clone(),
                });
                // A rule that is gone, or was switched off for the night, tells nobody.
                if rule.send_resolved && *told && *reason != ResolveReason::RuleGone {
                    let parts = parts(held, key, rule, *alert, NoticeKind::Resolved, facts, 0, scene);
                    changes.resolve_notices.push(ResolveNotice {
                        alert: *alert,
                        notice: notice(&parts),
                        at: scene.now,
                    });
                }
            }
            Effect::PendingBegan { .. }
            | Effect::PendingDropped { .. }
            | Effect::CooldownHeld { .. }
            | Effect::Merged { .. }
            | Effect::HeldUnknown { .. } => {}
        }
    }
}

fn details(key: &Key, rule: &Rule, facts: &Facts, scene: &Scene<'_>) -> AlertDetails {
    let app_name = (scene.app_names)(key.app);
    let release = scene.newest_release(key.app, facts.first_at);
    AlertDetails {
        condition: rule.condition.name().to_owned(),
        matches: serde_json::to_string(&rule.matches).unwrap_or_default(),
        threshold: rule.condition.threshold(),
        window: crate::notices::window(&rule.condition),
        measured: crate::notices::measured(&rule.condition, facts),
        meaning: rule.guidance.meaning.clone(),
        first_command: rule.guidance.first_command.replace("{app}", &app_name),
        usual_causes: rule.guidance.usual_causes.clone(),
        runbook: rule.runbook.clone(),
        release_sentence: dynowatch_domain::release::sentence(release, facts.first_at),
        release: release
            .filter(|release| facts.first_at.since(release.at) <= dynowatch_domain::release::LOOK_BACK)
            .cloned(),
        lower_bound: lower_bounds(key, rule, facts, scene),
        receivers: rule.receivers.clone(),
        send_resolved: rule.send_resolved,
        app_name,
    }
}

fn lower_bounds(key: &Key, rule: &Rule, facts: &Facts, scene: &Scene<'_>) -> Vec<String> {
    if !facts.lower_bound {
        return Vec::new();
    }
    let from = facts.last_at - rule.condition.window();
    let blinds = match rule.condition {
        Condition::Count { .. } => scene.losses(key.app, from, facts.last_at),
        _ => scene.blinds(key.app, from, facts.last_at),
    };
    let mut reasons: Vec<String> = blinds.into_iter().map(Blind::show).collect();
    if reasons.is_empty() {
        reasons.push("the window held more events than are kept".to_owned());
    }
    reasons.truncate(5);
    reasons
}

#[expect(clippy::too_many_arguments, reason = "the parts of one notice, collected once, here")]
fn parts<'a>(
    held: &'a Held,
    key: &'a Key,
    rule: &'a Rule,
    alert: AlertId,
    kind: NoticeKind,
    facts: &'a Facts,
    suppressed: u64,
    scene: &'a Scene<'_>,
) -> NoticeParts<'a> {
    NoticeParts {
        kind,
        alert,
        key,
        rule,
        app_name: (scene.app_names)(key.app),
        facts,
        suppressed,
        lower_bound: lower_bounds(key, rule, facts, scene),
        evidence: first_and_last(evidence(held, facts)),
        release: dynowatch_domain::release::sentence(scene.newest_release(key.app, facts.first_at), facts.first_at),
        masker: scene.masker,
        public_url: scene.public_url,
        resolved_at: (kind == NoticeKind::Resolved).then_some(scene.now),
    }
}

/// The kept lines that these numbers rest on; those of an earlier alert prove nothing.
fn evidence<'a>(held: &'a Held, facts: &Facts) -> impl Iterator<Item = &'a EvidenceLine> {
    let (first_at, last_at) = (facts.first_at, facts.last_at);
    held.lines.iter().filter(move |line| line.at >= first_at && line.at <= last_at)
}

fn first_and_last<'a>(mut lines: impl Iterator<Item = &'a EvidenceLine>) -> Vec<&'a EvidenceLine> {
    [lines.next(), lines.last()].into_iter().flatten().collect()
}

/// A rule that stands in for one that is gone, so that its open alert can still be closed.
pub(crate) fn gone(key: &Key) -> Arc<Rule> {
    let condition = Condition::Absence { fewer_than: 1, window: std::time::Duration::from_secs(60), lively: None };
    Arc::new(Rule::new(&key.rule, dynowatch_domain::rule::MatchSpec::default(), condition))
}
