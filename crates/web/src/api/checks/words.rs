//! A check in the words of the API: how it stands, what its last run found. Credentials are in none of it: targets are
//! shown without user, password and query, and texts that servers wrote are masked.

use dynowatch_domain::check::heartbeat::HeartbeatState;
use dynowatch_domain::check::observation::{CertificateFacts, ChainFacts, Observation, Phases, Pin};
use dynowatch_domain::check::state::{Held, Shown};
use dynowatch_domain::check::target::shown_target;
use dynowatch_domain::check::{Check, CheckKind, Flapping, Thresholds};
use dynowatch_domain::parse::show_duration;
use dynowatch_engine::checks::CheckStatus;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Time;
use super::super::objects::Names;
use crate::router::Web;
use crate::show::masked;

/// Every kind of check.
pub(crate) const KINDS: [&str; 8] = ["web", "redis", "postgres", "tcp", "tls", "dns", "heartbeat", "heroku"];

/// A check in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckSummary {
    /// Its name.
    pub(crate) name: String,
    /// `web`, `redis`, `postgres`, `tcp`, `tls`, `dns`, `heartbeat` or `heroku`.
    kind: &'static str,
    /// What it looks at, without credentials.
    target: String,
    /// The app it belongs to.
    app: Option<String>,
    /// `file` or `store`: where it is changed.
    origin: &'static str,
    /// `new`, `up`, `degraded`, `suspect`, `down`, `recovering`, `flapping`, `unknown`, `maintenance`, `blind`, `paused` or
    /// `misconfigured`.
    state: &'static str,
    /// As what the present counts for its uptime: `up`, `degraded`, `down`, `unknown`, `maintenance` or `paused`.
    counts_as: Option<&'static str>,
    /// Since when it counts so.
    since: Option<Time>,
    /// What the last run came to: `up`, `degraded`, `down` or `unknown`.
    outcome: Option<&'static str>,
    /// Why it was not up, as in `timeout`.
    reason: Option<&'static str>,
    /// In words.
    detail: Option<String>,
    /// When the last run began.
    last_run_at: Option<Time>,
    /// When the next one is due, or the next word of its job. `null` while it is paused.
    next_run_at: Option<Time>,
    /// How often it runs.
    every: String,
    /// `info`, `warning` or `critical`.
    severity: &'static str,
    /// The check whose failure explains this one's.
    parent: Option<String>,
    /// Whether everyone may see its badge.
    public: bool,
    /// Who paused it; `configuration` if that does.
    paused_by: Option<String>,
    /// The alert that is open for it.
    alert: Option<String>,
}

/// A check with everything that is known of the present.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckDetail {
    /// As in the list.
    #[serde(flatten)]
    summary: CheckSummary,
    /// One run's total deadline.
    timeout: String,
    /// How often it runs while a failure is not confirmed.
    every_when_suspect: String,
    /// What it takes to change the state.
    thresholds: ThresholdsInfo,
    /// What must hold, as written.
    assertions: Vec<String>,
    /// Who is told.
    receivers: Vec<String>,
    /// Whether they are told of the end.
    send_resolved: bool,
    /// Where the one on call reads what to do.
    runbook: Option<String>,
    /// When it was first seen.
    created_at: Option<Time>,
    /// Slots that were missed, ever.
    missed_slots: u64,
    /// Maintenance windows that are open for it.
    maintenance: Vec<String>,
    /// Why nobody is told of what goes on: `maintenance`, or the parent's name.
    held_by: Option<String>,
    /// The last run beside what is known of the app from elsewhere, in a sentence; empty when nothing can be said.
    diagnosis: String,
    /// What the last run found.
    last: Option<ObservationInfo>,
    /// For heartbeats: what the job said.
    heartbeat: Option<HeartbeatInfo>,
    /// For heartbeats: where the job reports. It is a secret, shown to those who may operate.
    ping_url: Option<String>,
    /// The key that is expected of the server, in mode `pin`.
    pin: Option<PinInfo>,
    /// Another key that the server shows.
    pin_offered: Option<PinInfo>,
}

/// What it takes to change the state of a check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ThresholdsInfo {
    /// So many failed runs in a row make it down.
    failures: u32,
    /// Or failing for so long.
    failing_for: Option<String>,
    /// So many good runs in a row make it up again.
    recoveries: u32,
    /// And being good for so long.
    recovering_for: Option<String>,
    /// When it counts as flapping; `null`: never.
    flapping: Option<FlappingInfo>,
    /// Whether somebody is told of degraded.
    tell_degraded: bool,
}

/// When a check counts as flapping.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlappingInfo {
    /// So many changes
    transitions: u32,
    /// within this time.
    window: String,
    /// It ends after so long without one.
    quiet: String,
}

/// What a run found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObservationInfo {
    /// When it began.
    at: Time,
    /// `up`, `degraded`, `down` or `unknown`.
    outcome: &'static str,
    /// Why not up.
    reason: Option<&'static str>,
    /// What that means.
    meaning: Option<&'static str>,
    /// What was seen.
    detail: String,
    /// In which phase it failed: `dns`, `connect`, `tls`, `first_byte` or `body`.
    failed_phase: Option<&'static str>,
    /// How long its phases took.
    phases: PhasesInfo,
    /// The one address that was dialled, with its port.
    address: Option<String>,
    /// `IPv4` or `IPv6`.
    family: Option<&'static str>,
    /// As in `HTTP/2`.
    protocol: Option<String>,
    /// As in `TLS 1.3`.
    tls: Option<String>,
    /// Every assertion with the value it saw.
    assertions: Vec<AssertionInfo>,
    /// What was measured.
    facts: Vec<FactInfo>,
    /// What the server showed, with TLS.
    certificate: Option<ChainInfo>,
    /// Things worth telling that change no outcome.
    notes: Vec<NoteInfo>,
}

/// How long the phases of a run took, in microseconds; `null` where it did not come so far or has none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PhasesInfo {
    /// The look-up of the name.
    dns_us: Option<u64>,
    /// The connection.
    connect_us: Option<u64>,
    /// The TLS handshake.
    tls_us: Option<u64>,
    /// To the first byte of the answer.
    first_byte_us: Option<u64>,
    /// The rest of the answer.
    body_us: Option<u64>,
    /// All of it.
    total_us: u64,
}

/// An assertion and what it saw.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssertionInfo {
    /// As written.
    text: String,
    /// `up` if it holds, else what its failure means.
    outcome: &'static str,
    /// The value that was seen.
    seen: String,
    /// Why it does not hold; empty if it does.
    why: String,
}

/// A measured value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FactInfo {
    /// As assertions call it.
    name: String,
    /// The value, as text.
    value: String,
    /// A word to it.
    note: String,
}

/// The certificates that a server showed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChainInfo {
    /// How they are judged: `verify`, `ca` or `pin`.
    mode: String,
    /// Why they were not accepted; empty if they were.
    problem: String,
    /// Until when the verified path holds.
    expires_at: Option<Time>,
    /// As presented, leaf first.
    presented: Vec<CertificateInfo>,
}

/// One certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CertificateInfo {
    /// Whom it is for.
    subject: String,
    /// Who signed it.
    issuer: String,
    /// The names it is good for.
    names: Vec<String>,
    /// From when it is valid.
    not_before: Time,
    /// Until when.
    not_after: Time,
    /// SHA-256 of its key, hex.
    key_sha256: String,
    /// Whether it is on the verified path.
    verified: bool,
}

/// A note.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoteInfo {
    /// As in `key_never_seen`.
    name: &'static str,
    /// In words.
    text: &'static str,
}

/// What a job said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeartbeatInfo {
    /// When it is expected, as in `every 1h`.
    expected: String,
    /// How late it may be.
    grace: String,
    /// Its last word of any kind.
    heard_at: Option<Time>,
    /// When it last finished or failed.
    reported_at: Option<Time>,
    /// Which of both: `finish` or `fail`.
    reported: Option<&'static str>,
    /// What it wrote with that.
    output: String,
    /// How long its last run took, in milliseconds, where it told the start.
    took_ms: Option<u64>,
    /// Runs that have begun and not ended.
    running: Vec<RunningInfo>,
}

/// A run of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunningInfo {
    /// Its id, if the job gave it one.
    run: Option<String>,
    /// When it began.
    since: Time,
}

/// A pinned key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PinInfo {
    /// SHA-256 of the key, hex.
    key_sha256: String,
    /// When it was first seen.
    first_seen_at: Time,
}

/// What people see of it.
pub(crate) fn shown(status: &CheckStatus) -> Shown {
    match &status.row {
        _ if status.check.paused => Shown::Paused,
        Some(row) if row.paused.is_some() => Shown::Paused,
        Some(row) => row.shown,
        None => Shown::New,
    }
}

pub(crate) fn summary(web: &Web, status: &CheckStatus, made: &Names) -> CheckSummary {
    let CheckStatus { check, row } = status;
    let last = row.as_ref().and_then(|row| row.last.as_ref());
    let flip = row.as_ref().and_then(|row| row.state.flip());
    let paused_by = row.as_ref().and_then(|row| row.paused.as_ref()).map(|paused| paused.by.clone());
    let outage = row.as_ref().and_then(|row| row.state.outage()).filter(|outage| outage.opened);
    CheckSummary {
        name: check.name.clone(),
        kind: check.kind.name(),
        target: masked(&web.engine, &shown_target(&check.kind)),
        app: check.app.clone(),
        origin: made.origin(&check.name),
        state: shown(status).as_str(),
        counts_as: flip.map(|flip| flip.standing.as_str()),
        since: flip.map(|flip| flip.at.into()),
        outcome: last.map(|last| last.outcome.name()),
        reason: last.and_then(|last| last.reason).map(|reason| reason.name()),
        detail: last.filter(|last| last.reason.is_some()).map(|last| masked(&web.engine, &last.detail)),
        last_run_at: row.as_ref().and_then(|row| row.last_run_at).map(Time),
        next_run_at: web.engine.next_check_run(status).map(Time),
        every: every(check),
        severity: check.severity.as_str(),
        parent: check.parent.clone(),
        public: check.public,
        paused_by: if check.paused { Some("configuration".to_owned()) } else { paused_by },
        alert: outage.map(|outage| outage.id.to_string()),
    }
}

fn every(check: &Check) -> String {
    match &check.kind {
        CheckKind::Heartbeat(heartbeat) => heartbeat.expected.to_string(),
        _ => show_duration(check.interval),
    }
}

pub(crate) fn detail(
    web: &Web,
    status: &CheckStatus,
    made: &Names,
    diagnosis: String,
    may_operate: bool,
) -> CheckDetail {
    let CheckStatus { check, row } = status;
    let now = web.engine.now();
    let book = web.engine.check_book();
    let open = book
        .windows
        .iter()
        .filter(|window| window.is_for(&check.name, check.app.as_deref()) && window.open_at(now).is_some());
    let held = row.as_ref().and_then(|row| row.state.outage()).and_then(|outage| outage.held.as_ref());
    let memory = row.as_ref().map(|row| &row.memory);
    let token = row.as_ref().and_then(|row| row.ping_token.as_deref()).filter(|_| may_operate);
    CheckDetail {
        summary: summary(web, status, made),
        timeout: show_duration(check.timeout),
        every_when_suspect: show_duration(check.suspect_interval()),
        thresholds: thresholds(&check.thresholds),
        assertions: check.assertions.iter().map(|assertion| assertion.as_str().to_owned()).collect(),
        receivers: check.receivers.clone(),
        send_resolved: check.send_resolved,
        runbook: check.runbook.clone(),
        created_at: row.as_ref().map(|row| row.created_at.into()),
        missed_slots: row.as_ref().map_or(0, |row| row.missed),
        maintenance: open.map(|window| window.name.clone()).collect(),
        held_by: held.map(held_by),
        diagnosis,
        last: row.as_ref().and_then(|row| row.last.as_ref()).map(|last| observation(web, last)),
        heartbeat: heartbeat(web, check, row.as_ref().map(|row| &row.heartbeat)),
        ping_url: token.map(|token| crate::ping::url(web, token)),
        pin: memory.and_then(|memory| memory.pin.as_ref()).map(pin),
        pin_offered: memory.and_then(|memory| memory.pin_offered.as_ref()).map(pin),
    }
}

pub(crate) fn held_by(held: &Held) -> String {
    match held {
        Held::Maintenance => "maintenance".to_owned(),
        Held::Parent { name } => name.clone(),
    }
}

fn pin(pin: &Pin) -> PinInfo {
    PinInfo { key_sha256: pin.key_sha256.clone(), first_seen_at: pin.first_seen_at.into() }
}

pub(crate) fn thresholds(thresholds: &Thresholds) -> ThresholdsInfo {
    let flapping = |flapping: Flapping| FlappingInfo {
        transitions: flapping.transitions,
        window: show_duration(flapping.window),
        quiet: show_duration(flapping.quiet),
    };
    ThresholdsInfo {
        failures: thresholds.failures,
        failing_for: thresholds.failing_for.map(show_duration),
        recoveries: thresholds.recoveries,
        recovering_for: thresholds.recovering_for.map(show_duration),
        flapping: thresholds.flapping.map(flapping),
        tell_degraded: thresholds.tell_degraded,
    }
}

fn heartbeat(web: &Web, check: &Check, state: Option<&HeartbeatState>) -> Option<HeartbeatInfo> {
    let CheckKind::Heartbeat(heartbeat) = &check.kind else { return None };
    let last = state.and_then(|state| state.last.as_ref());
    let mask = |text: &str| masked(&web.engine, text);
    let running = state.map(|state| state.running.as_slice()).unwrap_or_default();
    Some(HeartbeatInfo {
        expected: heartbeat.expected.to_string(),
        grace: show_duration(heartbeat.grace),
        heard_at: state.and_then(|state| state.heard_at).map(Time),
        reported_at: last.map(|ping| ping.at.into()),
        reported: last.map(|ping| ping.kind.as_str()),
        output: last.map(|ping| mask(&ping.note)).unwrap_or_default(),
        took_ms: state.and_then(|state| state.took).map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        running: running
            .iter()
            .map(|running| RunningInfo { run: running.run.as_deref().map(mask), since: running.since.into() })
            .collect(),
    })
}

pub(crate) fn phases(phases: &Phases) -> PhasesInfo {
    let Phases { dns_us, connect_us, tls_us, first_byte_us, body_us, total_us } = *phases;
    PhasesInfo { dns_us, connect_us, tls_us, first_byte_us, body_us, total_us }
}

pub(crate) fn observation(web: &Web, observation: &Observation) -> ObservationInfo {
    let mask = |text: &str| masked(&web.engine, text);
    let some = |text: &str| Some(mask(text)).filter(|text| !text.is_empty());
    let peer = observation.peer.as_ref();
    ObservationInfo {
        at: observation.started_at.into(),
        outcome: observation.outcome.name(),
        reason: observation.reason.map(|reason| reason.name()),
        meaning: observation.reason.map(|reason| reason.sentence()),
        detail: mask(&observation.detail),
        failed_phase: observation.failed_phase.map(|phase| phase.name()),
        phases: phases(&observation.phases),
        address: peer.map(|peer| peer.address.to_string()),
        family: peer.map(|peer| peer.family()),
        protocol: peer.and_then(|peer| some(&peer.protocol)),
        tls: peer.and_then(|peer| some(&peer.tls)),
        assertions: observation
            .assertions
            .iter()
            .map(|result| AssertionInfo {
                text: result.text.clone(),
                outcome: result.outcome.name(),
                seen: mask(&result.seen),
                why: mask(&result.why),
            })
            .collect(),
        facts: observation
            .facts
            .iter()
            .map(|fact| FactInfo {
                name: fact.name.clone(),
                value: mask(&fact.value.to_string()),
                note: mask(&fact.note),
            })
            .collect(),
        certificate: observation.certificate.as_ref().map(|chain| certificate(web, chain)),
        notes: observation.notes.iter().map(|note| NoteInfo { name: note.name(), text: note.sentence() }).collect(),
    }
}

fn certificate(web: &Web, chain: &ChainFacts) -> ChainInfo {
    let mask = |text: &str| masked(&web.engine, text);
    let one = |(place, facts): (usize, &CertificateFacts)| CertificateInfo {
        subject: mask(&facts.subject),
        issuer: mask(&facts.issuer),
        names: facts.names.iter().map(|name| mask(name)).collect(),
        not_before: facts.not_before.into(),
        not_after: facts.not_after.into(),
        key_sha256: facts.key_sha256.clone(),
        verified: chain.verified_path.contains(&place),
    };
    ChainInfo {
        mode: chain.mode.clone(),
        problem: mask(&chain.problem),
        expires_at: chain.expires_at.map(Time),
        presented: chain.presented.iter().enumerate().map(one).collect(),
    }
}
