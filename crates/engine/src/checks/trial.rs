//! Trying checks out: one that is not saved, read as if it were; other thresholds, on the runs that are stored. Nothing
//! here changes anything.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::maintenance::Span;
use dynowatch_domain::check::replay::{self, Past, Replay};
use dynowatch_domain::check::run::Run;
use dynowatch_domain::check::uptime::Standing;
use dynowatch_domain::check::{Check, Thresholds};
use dynowatch_domain::rule::NAME_BYTES_MAX;
use dynowatch_store::StoreError;
use dynowatch_store::objects::ObjectKind;
use serde_json::Value;

use super::operate::{CheckProblem, CheckStatus};
use super::settle::validity;
use crate::Engine;
use crate::objects::{ObjectError, is_name};

/// How long before its beginning a replay looks at runs, to know how things stood then.
const BEFORE: Duration = Duration::from_secs(86_400);

/// Other thresholds beside the present ones, on the same past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReplay {
    /// From when on results are there: the beginning that was asked for, or the oldest run that is kept.
    pub from: Timestamp,
    /// Up to when.
    pub until: Timestamp,
    /// What the other thresholds would have done.
    pub other: Replay,
    /// What the present ones do.
    pub present: Replay,
}

impl Engine {
    /// Reads a check that is not saved, as if it were. Nothing changes.
    ///
    /// # Errors
    /// When something is wrong with it, when its name belongs to the file, or when the store does not answer.
    pub async fn draft_check(&self, name: &str, body: &Value) -> Result<Arc<Check>, ObjectError> {
        if !is_name(name) {
            let text = format!("{name:?} is not a name: write 1 to {NAME_BYTES_MAX} of a-z, 0-9, - _ and .");
            return Err(ObjectError::at("name", text));
        }
        let problems = self.object_problems(ObjectKind::Check, name, body).await?;
        if !problems.is_empty() {
            return Err(ObjectError::Wrong(problems));
        }
        let compose = self.shared.configuring.lock().await.compose.clone().ok_or(ObjectError::FileOnly)?;
        let composed = compose.compose(&self.objects().await?.with(ObjectKind::Check, name, body));
        let composed = composed.map_err(|text| ObjectError::at("", text))?;
        let refused = composed.unusable.into_iter().find(|(kind, of, _)| *kind == ObjectKind::Check && of == name);
        if let Some((_, _, text)) = refused {
            return Err(ObjectError::at("", text));
        }
        let check = composed.checks.checks.into_iter().find(|check| check.name == name);
        check.map(Arc::new).ok_or_else(|| ObjectError::at("", "this instance reads no checks".to_owned()))
    }

    /// What other thresholds would have done with the stored runs of `[from, until)`, beside what the present ones do. Runs
    /// of the last seven days are kept.
    ///
    /// # Errors
    /// When there is no such check or the store does not answer.
    pub async fn replay_check(
        &self,
        name: &str,
        thresholds: &Thresholds,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<CheckReplay, CheckProblem> {
        let CheckStatus { check, row } = self.check_status(name).await?;
        let until = until.min(self.now());
        let number = row.map(|row| row.number);
        let (runs, paused) = self.past(number, from, until).await?;
        let parent_failing = self.parent_failing(&check, from, until).await?;
        let past = Past { runs: &runs, validity: validity(&check), paused: &paused, parent_failing: &parent_failing };
        let oldest = runs.first().map_or(until, |run| run.at);
        let from = from.max(oldest).min(until);
        Ok(CheckReplay {
            from,
            until,
            other: replay::replay(&past, thresholds, from),
            present: replay::replay(&past, &check.thresholds, from),
        })
    }

    async fn past(
        &self,
        number: Option<u64>,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<(Vec<Run>, Vec<Timestamp>), StoreError> {
        let Some(number) = number else { return Ok(Default::default()) };
        let before = from - BEFORE;
        let runs = self.store().check_runs(number, before, until).await?;
        let flips = self.store().check_flips(number, before, until).await?;
        let paused = flips.iter().filter(|flip| flip.standing == Standing::Paused).map(|flip| flip.at);
        Ok((runs, paused.collect()))
    }

    /// When the check's parent failed, by its present thresholds.
    async fn parent_failing(
        &self,
        check: &Check,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Span>, CheckProblem> {
        let Some(parent) = &check.parent else { return Ok(Vec::new()) };
        let CheckStatus { check: parent, row } = match self.check_status(parent).await {
            // One that is gone explains nothing.
            Err(CheckProblem::NoCheck { .. }) => return Ok(Vec::new()),
            found => found?,
        };
        let (runs, paused) = self.past(row.map(|row| row.number), from, until).await?;
        let past = Past { runs: &runs, validity: validity(&parent), paused: &paused, parent_failing: &[] };
        Ok(replay::failing(&past, &parent.thresholds))
    }
}
