//! What is kept of every run: its outcome, how long its phases took, how late it started. Owns the packed form: ten
//! minutes of one check are one row, and a run takes some ten bytes in it. What a failed run found is kept whole
//! elsewhere ([`super::observation`]).

use std::time::Duration;

use super::observation::{Observation, Phase, Phases};
use super::outcome::{Outcome, Reason};
use crate::Timestamp;
use crate::metric::codec::{Bytes, put, put_signed};

/// How long the time of one row is.
pub const ROW: Duration = Duration::from_secs(600);
/// The most runs of one row: more than one a second there cannot be, even with runs made by hand.
pub const ROW_RUNS_MAX: usize = 1_200;

/// One run, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When it began, to the millisecond.
    pub at: Timestamp,
    /// What it came to.
    pub outcome: Outcome,
    /// Why not up.
    pub reason: Option<Reason>,
    /// Whether it was made during maintenance.
    pub maintenance: bool,
    /// How long after its slot it started, in milliseconds.
    pub lag_ms: u64,
    /// How long it took.
    pub phases: Phases,
}

/// Their order is their number in rows: new ones go to the end.
const OUTCOMES: [Outcome; 4] = [Outcome::Up, Outcome::Degraded, Outcome::Down, Outcome::Unknown];
const PHASES: [Phase; 5] = [Phase::Dns, Phase::Connect, Phase::Tls, Phase::FirstByte, Phase::Body];
const MAINTENANCE: u8 = 1 << 2;
/// Where the phases' bits begin.
const FIRST_PHASE: u32 = 3;

impl Run {
    /// What is kept of an observation.
    #[must_use]
    pub fn of(observation: &Observation, maintenance: bool, lag: Duration) -> Self {
        let micros = observation.started_at.as_micros();
        Self {
            at: Timestamp::from_micros(micros - micros.rem_euclid(1_000)),
            outcome: observation.outcome,
            reason: observation.reason,
            maintenance,
            lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
            phases: observation.phases,
        }
    }

    /// The row it belongs to.
    #[must_use]
    pub fn row(&self) -> Timestamp {
        self.at.floor(ROW)
    }
}

/// Adds a run to the bytes of its row. `before` is the run before it in the row.
pub fn pack(row: &mut Vec<u8>, before: Option<&Run>, run: &Run) {
    let since = before.map_or(run.row(), |before| before.at);
    put_signed(row, (run.at.as_micros() - since.as_micros()) / 1_000);
    let outcome = OUTCOMES.iter().position(|outcome| *outcome == run.outcome).unwrap_or(3);
    let mut head = u8::try_from(outcome).unwrap_or(3);
    if run.maintenance {
        head |= MAINTENANCE;
    }
    let parts = run.phases.parts();
    for (place, phase) in (FIRST_PHASE..).zip(PHASES) {
        if parts.iter().any(|(measured, _)| *measured == phase) {
            head |= 1 << place;
        }
    }
    row.push(head);
    put(row, run.lag_ms);
    put(row, run.phases.total_us);
    for (_, micros) in parts {
        put(row, micros);
    }
    if run.outcome != Outcome::Up {
        let code = run.reason.map_or("", Reason::code);
        put(row, code.len() as u64);
        row.extend_from_slice(code.as_bytes());
    }
}

/// The runs of a row, in the order they were added. `None` when the bytes are no row. A reason that this version does not
/// know, as after a way back to an older one, is none.
#[must_use]
pub fn unpack(from: Timestamp, row: &[u8]) -> Option<Vec<Run>> {
    let (mut bytes, mut runs, mut at) = (Bytes(row), Vec::new(), from);
    while !bytes.is_empty() {
        at = Timestamp::from_micros(at.as_micros().checked_add(bytes.signed()?.checked_mul(1_000)?)?);
        let head = bytes.byte()?;
        let (lag_ms, total_us) = (bytes.number()?, bytes.number()?);
        let mut phases = Phases { total_us, ..Phases::default() };
        for (place, phase) in (FIRST_PHASE..).zip(PHASES) {
            if head & (1 << place) != 0 {
                phases.set(phase, bytes.number()?);
            }
        }
        let outcome = *OUTCOMES.get(usize::from(head & 3))?;
        let mut reason = None;
        if outcome != Outcome::Up {
            let len = usize::try_from(bytes.number()?).ok()?;
            let mut code = String::new();
            // Codes are short; a length that is none ends at the end of the row.
            for _ in 0..len {
                code.push(char::from(bytes.byte()?));
            }
            reason = code.parse().ok();
        }
        runs.push(Run { at, outcome, reason, maintenance: head & MAINTENANCE != 0, lag_ms, phases });
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run() -> impl Strategy<Value = (u32, Run)> {
        let phase = || prop::option::of(0_u64..10_000_000);
        let phases = (phase(), phase(), phase(), phase(), phase(), 0_u64..30_000_000);
        let phases = phases.prop_map(|(dns_us, connect_us, tls_us, first_byte_us, body_us, total_us)| Phases {
            dns_us,
            connect_us,
            tls_us,
            first_byte_us,
            body_us,
            total_us,
        });
        let reason = prop::option::of(prop::sample::select(Reason::ALL.to_vec()));
        (0_u32..60_000, any::<bool>(), 0_u64..100_000, phases, reason).prop_map(
            |(gap, maintenance, lag_ms, phases, reason)| {
                let outcome = reason.map_or(Outcome::Up, Reason::outcome);
                (gap, Run { at: Timestamp::UNIX_EPOCH, outcome, reason, maintenance, lag_ms, phases })
            },
        )
    }

    proptest! {
        #[test]
        fn runs_come_back(list in prop::collection::vec(run(), 0..40), begin in 0_i64..2_000_000_000) {
            let from = Timestamp::from_seconds(begin).floor(ROW);
            let mut runs: Vec<Run> = Vec::new();
            let (mut row, mut at) = (Vec::new(), from);
            for (gap, run) in list {
                at = at + Duration::from_millis(u64::from(gap) % 10_000);
                let run = Run { at, ..run };
                pack(&mut row, runs.last(), &run);
                runs.push(run);
            }
            // A row's time is given by its first run, so what lies beyond it belongs to it all the same.
            prop_assume!(runs.first().is_none_or(|first| first.row() == from));
            prop_assert_eq!(unpack(from, &row), Some(runs));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _runs = unpack(Timestamp::UNIX_EPOCH, &bytes);
        }
    }

    #[test]
    fn a_run_is_some_ten_bytes() {
        let phases = Phases {
            connect_us: Some(900),
            tls_us: Some(2_400),
            first_byte_us: Some(31_000),
            total_us: 35_500,
            ..Phases::default()
        };
        let mut row = Vec::new();
        let mut before = None;
        for place in 0..20 {
            let at = Timestamp::from_seconds(place * 30);
            let run = Run { at, outcome: Outcome::Up, reason: None, maintenance: false, lag_ms: 3, phases };
            pack(&mut row, before.as_ref(), &run);
            before = Some(run);
        }
        assert!(row.len() <= 20 * 15, "{} bytes for 20 runs", row.len());
    }
}
