//! What stands in the log already: the newest lines of all apps from their rings, and one line found again by its name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::line_filter::LineFilter;
use dynowatch_domain::line_rule::{Suggestion, suggest};
use dynowatch_domain::mask::Masker;
use dynowatch_domain::signal::Source;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_logplex::{Frame, Message, StampCache, frames, message, record};

use super::line::know_neighbours;
use super::{LineId, RawLine, SHOWN_BYTES_MAX, SeenLine, choose, fits};
use crate::apps::{App, lock};
use crate::{Engine, adapter};

/// Apps whose rings are read for one page, those with the newest lines.
pub const RECENT_APPS_MAX: usize = 200;
/// Lines of all rings that are masked and looked at for one page, and of each app at least.
const LOOKED_AT_MAX: usize = 4_000;
const LOOKED_AT_MIN: usize = 20;
/// The longest text on a page about one line: all that Heroku sends of one.
const ONE_BYTES_MAX: usize = 16 * 1024;

/// The newest lines that fit.
#[derive(Debug, Default)]
pub struct Recent {
    /// Oldest first.
    pub lines: Vec<SeenLine>,
    /// Lines that fit and found no room, by the app's name.
    pub missed: Vec<(String, u64)>,
    /// Apps that were looked at.
    pub apps: usize,
    /// Apps that were left out: too many have lines.
    pub apps_left_out: usize,
    /// The oldest stamp that was looked at.
    pub from: Option<Timestamp>,
}

/// A line found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLine {
    /// As people may see it.
    pub seen: SeenLine,
    /// Its text as it came, up to what evidence keeps. Only for who may see it, and for the audit log never.
    pub raw: Vec<u8>,
    /// What a rule for lines like this may ask for.
    pub suggestion: Suggestion,
}

impl Engine {
    /// The newest lines of all apps that fit, at most `lines_max`, shared out among the apps. Reads some megabytes: not for
    /// a thread that must answer others.
    #[must_use]
    pub fn recent_lines(&self, filter: &LineFilter, lines_max: usize) -> Recent {
        let masker = self.masker();
        let directory = self.apps();
        let mut apps: Vec<(Timestamp, &Arc<App>)> = directory
            .iter()
            .filter(|app| filter.wants_app(&app.name))
            .map(|app| (lock(&app.live.totals).newest_at, app))
            .filter(|(newest, _)| *newest > Timestamp::UNIX_EPOCH)
            .collect();
        apps.sort_by_key(|(newest, _)| std::cmp::Reverse(*newest));
        let apps_left_out = apps.len().saturating_sub(RECENT_APPS_MAX);
        apps.truncate(RECENT_APPS_MAX);
        let per_app = LOOKED_AT_MAX.checked_div(apps.len()).unwrap_or(0).max(LOOKED_AT_MIN);
        let mut recent = Recent { apps: apps.len(), apps_left_out, ..Recent::default() };
        let (mut wanted, mut raws) = (Vec::new(), HashMap::new());
        for (_, app) in &apps {
            wanted.extend(self.recent_of(app, filter, per_app, &masker, &mut recent.from, &mut raws));
        }
        let mut missed = BTreeMap::new();
        let chosen = choose(wanted.into_iter().map(Arc::new), lines_max, &mut missed);
        lock(&self.shared.tail.state).remember(&chosen, &mut raws);
        recent.lines = chosen.into_iter().map(Arc::unwrap_or_clone).collect();
        recent.missed = missed.into_iter().collect();
        recent
    }

    fn recent_of(
        &self,
        app: &App,
        filter: &LineFilter,
        lines_max: usize,
        masker: &Masker,
        from: &mut Option<Timestamp>,
        raw_of: &mut HashMap<LineId, Box<[u8]>>,
    ) -> Vec<SeenLine> {
        let pieces = lock(&app.live.ring).pieces();
        let mut raws = raw_lines(&pieces);
        if let Some(oldest) = raws.first() {
            *from = Some(from.map_or(oldest.at, |from| from.min(oldest.at)));
        }
        raws.retain(|raw| filter.wants_writer(raw.source, raw.process));
        let surplus = raws.len().saturating_sub(lines_max);
        let mut fitting = Vec::new();
        for raw in raws.iter().skip(surplus) {
            let line = self.see(raw, app.id, &app.name, masker, SHOWN_BYTES_MAX);
            if !fits(filter, &line) {
                continue;
            }
            if line.is_masked || line.cut_bytes > 0 {
                raw_of.insert(line.id, raw.text.into());
            }
            fitting.push(line);
        }
        fitting
    }

    fn see(&self, raw: &RawLine<'_>, app: AppId, name: &str, masker: &Masker, bytes_max: usize) -> SeenLine {
        let tail = &self.shared.tail;
        let id = raw.id(&tail.key, app);
        SeenLine { alert: tail.alert_of(id), ..raw.see(id, app, name, masker, bytes_max) }
    }

    /// A line of this app that was shown or is still in its ring. None: it is gone, for lines are not kept.
    #[must_use]
    pub fn find_line(&self, app: &App, id: LineId) -> Option<FoundLine> {
        let pieces = lock(&app.live.ring).pieces();
        let tail = &self.shared.tail;
        let kept = lock(&tail.state).find(app.id, id).map(|kept| (Arc::clone(&kept.line), kept.raw.clone()));
        let was_continued = kept.as_ref().is_some_and(|(line, _)| line.is_continued);
        if let Some(raw) = raw_lines(&pieces).into_iter().rev().find(|raw| raw.id(&tail.key, app.id) == id)
            // The ring may have forgotten what lay before it, and a secret may lie across the cut.
            && (!raw.before.is_empty() || !was_continued)
        {
            return Some(found(&raw, self.see(&raw, app.id, &app.name, &self.masker(), ONE_BYTES_MAX)));
        }
        let (line, raw) = kept?;
        let text = raw.as_deref().unwrap_or(line.text.as_bytes());
        let raw = RawLine::new(line.at, line.source, line.process.as_bytes(), text);
        // What lay beside a part of a line is not kept: nothing can be shown of it but what was.
        let seen = if line.is_torn {
            (*line).clone()
        } else {
            self.see(&raw, app.id, &app.name, &self.masker(), ONE_BYTES_MAX)
        };
        let found = found(&raw, seen);
        Some(FoundLine {
            seen: SeenLine { id, alert: tail.alert_of(id), is_masked: line.is_masked, ..found.seen },
            ..found
        })
    }

    /// All lines that this app's ring holds, oldest first, as they came.
    pub(crate) fn ring_lines(&self, app: &App) -> Vec<EvidenceLine> {
        let pieces = lock(&app.live.ring).pieces();
        let lines = raw_lines(&pieces);
        lines.iter().map(|raw| EvidenceLine::new(raw.at, raw.source, raw.process, raw.text, Role::Match)).collect()
    }

    /// A line of an alert's evidence.
    #[must_use]
    pub fn evidence_line(&self, app: AppId, name: &str, line: &EvidenceLine) -> FoundLine {
        let raw = RawLine::of_evidence(line);
        found(&raw, self.see(&raw, app, name, &self.masker(), ONE_BYTES_MAX))
    }
}

fn found(raw: &RawLine<'_>, seen: SeenLine) -> FoundLine {
    let source: &[u8] = if raw.source == Source::Heroku { b"heroku" } else { b"app" };
    let message = Message {
        at_us: raw.at.as_micros(),
        app_name: source,
        proc_id: raw.process,
        drain_token: None,
        pri: None,
        text: raw.text,
        newline: true,
    };
    let signal = adapter::signal(&message, &record(&message), raw.at, true);
    FoundLine { suggestion: suggest(&signal, &seen.text), seen, raw: raw.text.to_vec() }
}

/// The lines of these bodies, oldest first; the pieces of one line know of each other.
fn raw_lines(pieces: &[Bytes]) -> Vec<RawLine<'_>> {
    let mut cache = StampCache::default();
    let frames = pieces.iter().flat_map(|piece| frames(piece));
    let lines = frames.filter_map(|frame| match frame {
        Frame::Message(raw) => message(raw, &mut cache).ok().map(|message| RawLine::of(&message)),
        Frame::Bad(_) => None,
    });
    let mut lines: Vec<RawLine<'_>> = lines.collect();
    know_neighbours(&mut lines, &[]);
    lines
}
