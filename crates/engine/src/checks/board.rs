//! The board: every check that this process runs, when it is due, and what may run now. Owns the limits (so many at once by
//! what a run costs, two at one host) and what becomes of a slot that found no room; runs themselves are made in
//! [`super::runs`], what they mean is worked out in [`super::settle`].
//!
//! One lock, held for moments: nothing here waits for the store, a socket or a message.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::heartbeat::HeartbeatState;
use dynowatch_domain::check::observation::{Memory, Observation};
use dynowatch_domain::check::run::{self, ROW_RUNS_MAX, Run};
use dynowatch_domain::check::schedule::{Due, Grid};
use dynowatch_domain::check::state::{CheckState, Phase};
use dynowatch_domain::check::{Check, CheckKind, CostClass};
use dynowatch_domain::evidence::EvidenceLine;
use dynowatch_store::checks::{CheckRow, ResultRow};

/// Runs at one time that cost a connection and a few bytes.
pub const WEB_RUNS_MAX: usize = 64;
/// Runs at one time that cost a session at a data service.
pub const DATA_RUNS_MAX: usize = 16;
/// Runs at one time at one host.
pub const HOST_RUNS_MAX: usize = 2;
/// A check that never ran is run within this time, however long its interval.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// Lines kept for the alert of an outage: its newest failures.
const LINES_MAX: usize = 5;

/// One check that this process runs.
pub(crate) struct Entry {
    pub(crate) check: Arc<Check>,
    pub(crate) number: u64,
    pub(crate) live: Live,
    pub(crate) paused: bool,
    grid: Grid,
    slot: Timestamp,
    late: bool,
    running: bool,
    /// When it is next looked at; `None` while it runs or waits for room.
    due_at: Option<Timestamp>,
}

/// What of a check is written down, and what of that is not yet.
pub(crate) struct Live {
    pub(crate) version: i64,
    pub(crate) state: CheckState,
    pub(crate) memory: Memory,
    pub(crate) heartbeat: HeartbeatState,
    pub(crate) last: Option<Observation>,
    pub(crate) missed: u64,
    /// A maintenance window was open for it at the last step.
    pub(crate) maintenance: bool,
    /// A result was lost at that time: the queue was full.
    pub(crate) lost_at: Option<Timestamp>,
    /// Wishes up to here were fulfilled and are not yet taken off.
    pub(crate) asked_until: Option<Timestamp>,
    /// Pings that were taken in and are not yet marked so.
    pub(crate) pings: Vec<i64>,
    /// The newest failures, for evidence.
    pub(crate) lines: VecDeque<EvidenceLine>,
    /// State changed since it was written.
    pub(crate) unsaved_since: Option<Timestamp>,
    row: Option<ResultRow>,
    newest: Option<Run>,
    runs: usize,
    row_unsaved: bool,
    /// The last failure that was kept whole: when, and what it said.
    pub(crate) kept: Option<(Timestamp, String)>,
}

impl Live {
    fn of(row: CheckRow) -> Self {
        Self {
            version: row.version,
            state: row.state,
            memory: row.memory,
            heartbeat: row.heartbeat,
            last: row.last,
            missed: row.missed,
            maintenance: false,
            lost_at: None,
            asked_until: None,
            pings: Vec::new(),
            lines: VecDeque::new(),
            unsaved_since: None,
            row: None,
            newest: None,
            runs: 0,
            row_unsaved: false,
            kept: None,
        }
    }

    /// Goes on with a row that another wrote, or that this process wrote before it began anew.
    pub(crate) fn go_on(&mut self, row: ResultRow) {
        if self.row.is_none()
            && let Some(runs) = run::unpack(row.from, &row.body)
        {
            self.newest = runs.last().copied();
            self.runs = runs.len();
            self.row = Some(row);
        }
    }

    /// Adds a run to the row of its time.
    pub(crate) fn add_run(&mut self, number: u64, run: Run) -> Option<ResultRow> {
        let mut full = None;
        if self.row.as_ref().is_none_or(|row| row.from != run.row()) {
            let next = ResultRow { number, from: run.row(), body: Vec::new() };
            let before = self.row.replace(next);
            full = before.filter(|_| self.row_unsaved);
            self.newest = None;
            self.runs = 0;
        }
        if let Some(row) = self.row.as_mut().filter(|_| self.runs < ROW_RUNS_MAX) {
            run::pack(&mut row.body, self.newest.as_ref(), &run);
            self.newest = Some(run);
            self.runs += 1;
            self.row_unsaved = true;
        }
        full
    }

    /// The row as it is now, if it was not written yet.
    pub(crate) fn take_row(&mut self) -> Option<ResultRow> {
        std::mem::take(&mut self.row_unsaved).then(|| self.row.clone()).flatten()
    }

    pub(crate) fn add_line(&mut self, line: EvidenceLine) {
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// A run to be made.
#[derive(Clone)]
pub struct Job {
    pub(crate) number: u64,
    pub(crate) check: Arc<Check>,
    pub(crate) memory: Memory,
    /// How long after its slot it starts.
    pub(crate) lag: Duration,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Board {
    entries: HashMap<u64, Entry>,
    due: BTreeSet<(Timestamp, u64)>,
    /// Due, but without room; oldest first.
    waiting: VecDeque<u64>,
    web_running: usize,
    data_running: usize,
    hosts: HashMap<String, usize>,
    /// By number of a check whose entry went while it ran: what it holds.
    leaving: HashMap<u64, (CostClass, String)>,
    /// Slots that were missed since this process began.
    missed: u64,
    /// The last look at what is due.
    looked_at: Timestamp,
}

/// Where a run goes, as far as that is known before it is made; runs at one of these are few at a time.
pub(crate) fn host(check: &Check) -> String {
    use dynowatch_domain::check::Source;
    match (&check.kind, check.kind.source()) {
        (CheckKind::Tcp(tcp), _) => tcp.host.clone(),
        (CheckKind::Tls(tls), _) => tls.host.clone(),
        (CheckKind::Dns(dns), _) => dns.server.clone().unwrap_or_default(),
        (_, Some(Source::Url(url))) => {
            let url = url.expose();
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            host.to_ascii_lowercase()
        }
        (_, Some(Source::ConfigVar { app, name })) => format!("{app}/{name}"),
        _ => String::new(),
    }
}

impl Board {
    pub(crate) fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&number)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Entry> {
        self.entries.values().find(|entry| entry.check.name == name)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    /// Numbers of checks that run at the moment.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.entries.values().filter(|entry| entry.running).map(|entry| entry.number).collect()
    }

    /// Takes a check over.
    pub(crate) fn insert(&mut self, check: Arc<Check>, row: CheckRow, now: Timestamp) {
        let number = row.number;
        self.remove(number);
        let paused = row.paused.is_some() || check.paused;
        let live = Live::of(row);
        let first = live.state.last_run_at().is_none();
        let grid = Grid::new(number, if first { check.interval.min(FIRST_WITHIN) } else { check.interval });
        let slot = grid.after(now);
        self.entries.insert(
            number,
            Entry { check, number, live, paused, grid, slot, late: false, running: false, due_at: Some(slot) },
        );
        self.due.insert((slot, number));
    }

    /// Gives a check up. A run of it that is on its way ends, and says nothing any more.
    pub(crate) fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        if let Some(at) = entry.due_at {
            self.due.remove(&(at, number));
        }
        self.waiting.retain(|waiting| *waiting != number);
        if entry.running {
            self.leaving.insert(number, (entry.check.kind.cost_class(), host(&entry.check)));
        }
    }

    /// Gives a check its new definition. Its state goes on.
    pub(crate) fn redefine(&mut self, number: u64, check: Arc<Check>, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if *entry.check == *check {
            return;
        }
        let (running, interval) = (entry.running, entry.check.interval != check.interval);
        // What a run holds is known by the check it was made for.
        if running && (entry.check.kind.cost_class(), host(&entry.check)) != (check.kind.cost_class(), host(&check)) {
            return;
        }
        entry.check = check;
        if interval && !running {
            self.reschedule(number, now);
        }
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes out what is due and finds room.
    pub(crate) fn start_due(&mut self, now: Timestamp) -> Vec<Job> {
        let mut jobs = Vec::new();
        self.start_waiting(now, &mut jobs);
        while let Some(&(at, number)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            let Some(entry) = self.entries.get_mut(&number) else { continue };
            entry.due_at = None;
            if entry.paused {
                // Looked at again when it goes on.
                self.reschedule(number, now);
                continue;
            }
            match entry.grid.look(entry.slot, now) {
                // Its own time was later than its place said: the clock went back.
                Due::At(at) => self.schedule(number, at),
                Due::Jumped { next, missed } => {
                    entry.live.missed += missed;
                    self.missed += missed;
                    entry.slot = next;
                    entry.late = false;
                    self.schedule(number, next);
                }
                Due::Now { .. } => match self.start(number, now) {
                    Some(job) => jobs.push(job),
                    None => self.waiting.push_back(number),
                },
            }
        }
        // The clock went back: nothing must wait longer than its interval.
        if now < self.looked_at {
            let all: Vec<u64> = self.due.iter().map(|(_, number)| *number).collect();
            all.into_iter().for_each(|number| self.reschedule(number, now));
        }
        self.looked_at = now;
        jobs
    }

    /// Those that found no room before: in their order, as far as there is room now. Who has waited for a whole interval
    /// has missed its slot.
    fn start_waiting(&mut self, now: Timestamp, jobs: &mut Vec<Job>) {
        for _ in 0..self.waiting.len() {
            let Some(number) = self.waiting.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&number) else { continue };
            if entry.paused {
                self.reschedule(number, now);
            } else if now.since(entry.slot) >= entry.check.interval {
                let next = entry.grid.after(now);
                let missed = entry.grid.slots(entry.slot, now) + 1;
                entry.live.missed += missed;
                self.missed += missed;
                entry.slot = next;
                self.schedule(number, next);
            } else {
                match self.start(number, now) {
                    Some(job) => jobs.push(job),
                    None => self.waiting.push_back(number),
                }
            }
        }
    }

    /// How many checks it holds, and how many slots were missed since this process began.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.entries.len(), self.missed)
    }

    /// Whether anything waits for room.
    pub(crate) fn waits(&self) -> usize {
        self.waiting.len()
    }

    fn start(&mut self, number: u64, now: Timestamp) -> Option<Job> {
        let entry = self.entries.get_mut(&number)?;
        let (class, host) = (entry.check.kind.cost_class(), host(&entry.check));
        let room = match class {
            CostClass::Web => self.web_running < WEB_RUNS_MAX,
            CostClass::Data => self.data_running < DATA_RUNS_MAX,
            CostClass::Native => true,
        };
        let at_host = self.hosts.get(&host).copied().unwrap_or(0);
        if !room || (!host.is_empty() && at_host >= HOST_RUNS_MAX) {
            return None;
        }
        entry.running = true;
        let job = Job {
            number,
            check: Arc::clone(&entry.check),
            memory: entry.live.memory.clone(),
            lag: now.since(entry.slot),
        };
        self.hold(class, host);
        Some(job)
    }

    fn hold(&mut self, class: CostClass, host: String) {
        match class {
            CostClass::Web => self.web_running += 1,
            CostClass::Data => self.data_running += 1,
            CostClass::Native => {}
        }
        if !host.is_empty() {
            *self.hosts.entry(host).or_default() += 1;
        }
    }

    fn free(&mut self, class: CostClass, host: &str) {
        match class {
            CostClass::Web => self.web_running = self.web_running.saturating_sub(1),
            CostClass::Data => self.data_running = self.data_running.saturating_sub(1),
            CostClass::Native => {}
        }
        if let Some(running) = self.hosts.get_mut(host) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                self.hosts.remove(host);
            }
        }
    }

    /// A run has ended: its room is free, and the next one has its time. `false`: nobody waits for its result any more.
    pub(crate) fn ended(&mut self, number: u64, ended: Timestamp) -> bool {
        if let Some((class, host)) = self.leaving.remove(&number) {
            self.free(class, &host);
            return false;
        }
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| entry.running) else { return false };
        entry.running = false;
        let (class, host) = (entry.check.kind.cost_class(), host(&entry.check));
        let next = entry.grid.follow(entry.slot, entry.late, ended);
        entry.live.missed += next.missed;
        self.missed += next.missed;
        entry.slot = next.slot;
        entry.late = next.late;
        self.free(class, &host);
        self.schedule(number, next.at);
        true
    }

    fn schedule(&mut self, number: u64, at: Timestamp) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if let Some(before) = entry.due_at.replace(at) {
            self.due.remove(&(before, number));
        }
        self.due.insert((at, number));
    }

    /// After a step: another phase may run on another grid.
    pub(crate) fn regrid(&mut self, number: u64, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let suspect = entry.live.state.phase() == Phase::Suspect;
        let interval = if suspect { entry.check.suspect_interval() } else { entry.check.interval };
        let grid = Grid::new(number, interval);
        if grid != entry.grid && !entry.running {
            entry.grid = grid;
            self.reschedule(number, now);
        }
    }

    /// Waits for the next slot from now.
    fn reschedule(&mut self, number: u64, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| !entry.running) else { return };
        let suspect = entry.live.state.phase() == Phase::Suspect;
        let interval = if suspect { entry.check.suspect_interval() } else { entry.check.interval };
        entry.grid = Grid::new(number, interval);
        entry.slot = entry.grid.after(now);
        entry.late = false;
        let slot = entry.slot;
        self.waiting.retain(|waiting| *waiting != number);
        self.schedule(number, slot);
    }

    /// Runs a check now, besides its slots. `false`: it runs already, or is not here.
    pub(crate) fn run_now(&mut self, number: u64, now: Timestamp) -> bool {
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| !entry.running && !entry.paused) else {
            return false;
        };
        entry.slot = now;
        entry.late = true;
        self.waiting.retain(|waiting| *waiting != number);
        self.schedule(number, now);
        true
    }

    /// Looks at a check by that time at the latest.
    pub(crate) fn look_by(&mut self, number: u64, at: Timestamp) {
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| !entry.running) else { return };
        if entry.due_at.is_some_and(|due| due > at) {
            entry.slot = at;
            entry.late = true;
            self.schedule(number, at);
        }
    }
}
