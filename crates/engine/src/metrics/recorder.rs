//! What one app's lines have told since the last flush, and the newest value of every series: the way of a value from a
//! line to a slot. Owns the bounds on how many series, sources and open slots an app may have.
//!
//! A line is read under the recorder's lock into a `BatchMetrics`; only its names are looked up here. When the batch
//! counts, `Recorder::apply` adds it to the open slots. `Recorder::take` hands those to the flush and leaves the names.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::metric::paths::route_of;
use dynowatch_domain::metric::query::SEEN_METRIC;
use dynowatch_domain::metric::{Gauge, Kind, SeriesKey, Sketch, Tally, Value, dyno_type, name_of};
use dynowatch_domain::signal::Signal;
use dynowatch_logplex::{DynoEvent, Feed, Record, RouterLine, Sample, Samples};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::batch::{BatchMetrics, Request, Seen};
use super::events::{Events, Told};
use super::names::{self, Convert};
use super::path_sample::Paths;
use super::wants::Wants;

/// The most series of one app in this process. Values of later ones are counted as refused, and shown.
pub const SERIES_MAX: usize = 10_000;
/// The most dynos, databases and other sources of one app.
const SOURCES_MAX: usize = 4_000;
/// Values older than this are counted as late instead.
pub const LATE_MAX: Duration = Duration::from_secs(2 * 3_600);
/// Bytes that an app's open slots may take between two flushes, as far as they are counted: enough for an hour of the
/// thousand lines that Logplex keeps for a drain while it is away. Lines of further slots are late.
const OPEN_BYTES_MAX: usize = 1 << 20;
/// So many slots are open whatever they take. A drain that is not behind fills one or two.
const SLOTS_ALWAYS: usize = 4;
/// What the requests of one dyno, or a distribution, may take in a slot.
const DISTRIBUTION_BYTES: usize = 2_500;
/// What another value of a slot takes.
const VALUE_BYTES: usize = 64;
/// A series without a place.
const REFUSED: u32 = u32::MAX;
/// A series of a metric that is not wanted.
const UNWANTED: u32 = u32::MAX - 1;

/// The newest value of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Which series.
    pub key: SeriesKey,
    /// Its newest value; of a counter, the sum since this process began.
    pub value: f64,
    /// When it was so.
    pub at: Timestamp,
}

/// What is known of a series besides its key.
#[derive(Debug, Clone, Copy)]
struct Newest {
    value: f64,
    at: Timestamp,
    /// The key's, where it is at hand.
    kind: Kind,
}

/// A metric line's name for a series.
struct Alias {
    feed: Feed,
    kind: dynowatch_logplex::SampleKind,
    unit: dynowatch_logplex::Unit,
    source: Box<[u8]>,
    /// Its place among the app's sources; 0 when it has none there.
    place: u16,
    name: Box<[u8]>,
    series: u32,
    convert: Convert,
    /// The alias that came after it last: lines of one source name their values in one order, so it is nearly always the
    /// next one again, and found without hashing.
    next: u32,
}

impl Alias {
    /// Sources are compared by their places where both have one: once a line instead of once a value.
    #[inline]
    fn is(&self, of: &Origin<'_>, sample: &Sample<'_>) -> bool {
        self.place == of.place
            && self.feed == of.feed
            && self.kind == sample.kind
            && self.unit == sample.unit
            && *self.name == *sample.name
            && (self.place > 0 || *self.source == *of.source)
    }
}

/// Where the values of a metric line come from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    feed: Feed,
    source: &'a [u8],
    /// The source's place among the app's; 0 for none.
    place: u16,
}

/// A place of no alias.
const NO_ALIAS: u32 = u32::MAX;

/// What one dyno's requests told in ten seconds.
#[derive(Default)]
struct Requests {
    statuses: Vec<(u16, u64)>,
    codes: Vec<(u16, u64)>,
    bytes: u64,
    service: Tally,
    /// Connecting takes a millisecond or none: those are counted in place.
    connect: [u32; CONNECT_PLACES],
    slow_connect: Tally,
}

/// Times to connect, in milliseconds, that are counted in place.
const CONNECT_PLACES: usize = 8;

enum Cell {
    Counter(f64),
    Gauge(Gauge),
    Distribution(Tally),
}

/// Ten seconds that are not flushed yet.
struct Open {
    at: Timestamp,
    lines: u64,
    /// By the place of the dyno among the sources.
    requests: Vec<Option<Box<Requests>>>,
    /// Of each series by its place, one more than the place of its cell; 0 for none.
    places: Vec<u32>,
    cells: Vec<(u32, Cell)>,
    /// What it takes.
    bytes: usize,
}

/// Values on their way to the store: which series, which slot, what.
pub(crate) type Taken = Vec<(SeriesKey, Timestamp, Value)>;

/// One app's part of the metrics.
#[derive(Default)]
pub(crate) struct Recorder {
    wants: Wants,
    keys: Arc<Vec<SeriesKey>>,
    newest: Vec<Newest>,
    by_key: HashTable<u32>,
    aliases: Vec<Alias>,
    by_alias: HashTable<u32>,
    /// By the place of a source: the alias its last metric line ended with. What came after it then begins the next line.
    last_alias: Vec<u32>,
    sources: Vec<Arc<str>>,
    /// The same as the lines write them.
    names: Vec<Box<[u8]>>,
    by_source: HashTable<u16>,
    /// The source last found for names that end alike: nearly always the one, and found without hashing.
    near: Near,
    hasher: DefaultHashBuilder,
    open: Vec<Open>,
    /// What they take together.
    open_bytes: usize,
    pub(crate) paths: Paths,
    pub(crate) events: Events,
    /// Values of series that found no room.
    pub(crate) refused: u64,
    /// Lines too old for any slot.
    pub(crate) late: u64,
}

/// A place for each way a name may end.
struct Near([u16; NEAR_PLACES]);

const NEAR_PLACES: usize = 128;

impl Default for Near {
    fn default() -> Self {
        Self([0; NEAR_PLACES])
    }
}

/// Where a name is looked for first: dynos of one type differ in their last digits.
#[inline]
fn near(name: &[u8]) -> usize {
    match name {
        [.., tens, ones] => (usize::from(*tens) * 10 + usize::from(*ones)) % NEAR_PLACES,
        _ => 0,
    }
}

impl Recorder {
    /// One that gathers these metrics alone, as far as leaving out the others saves work, and no paths.
    pub(crate) fn only(metrics: &BTreeSet<String>) -> Self {
        Self { wants: Wants::only(metrics), ..Self::default() }
    }

    /// Takes what a line tells, save the values of metric lines and requests.
    #[inline]
    pub(crate) fn line(&mut self, batch: &mut BatchMetrics, record: &Record<'_>, signal: &Signal<'_>) {
        batch.line(signal.at);
        match record {
            Record::Router(line) if self.wants.requests() => self.request(batch, line, signal),
            Record::Router(_) | Record::App(_) | Record::Samples(_) | Record::PostgresLog(_) | Record::Other => {}
            _ => self.platform(batch, record, signal),
        }
    }

    #[inline]
    fn request(&mut self, batch: &mut BatchMetrics, line: &RouterLine<'_>, signal: &Signal<'_>) {
        let source = self.source(line.dyno());
        self.refused += u64::from(source == 0 && !line.dyno().is_empty());
        let status = line.status().unwrap_or(0);
        let code = line.code().map_or(0, |code| code.number());
        batch.seen.push(Seen::Request(Request {
            source,
            status,
            code,
            service_ms: line.service_ms(),
            connect_ms: line.connect_ms(),
            bytes: line.bytes().unwrap_or(0),
        }));
        if !self.wants.paths() {
            return;
        }
        let failed = code > 0 || status >= 500;
        let of_all = self.paths.of_all.weight();
        let of_errors = if failed { self.paths.of_errors.weight() } else { None };
        if of_all.is_some() || of_errors.is_some() {
            self.path(line, signal, of_all, of_errors);
        }
    }

    #[cold]
    fn path(&mut self, line: &RouterLine<'_>, signal: &Signal<'_>, of_all: Option<u64>, of_errors: Option<u64>) {
        let Some(path) = signal.path.or_else(|| line.path()) else { return };
        let route = route_of(path);
        if let Some(weight) = of_all {
            self.paths.all.add(&route, weight);
        }
        if let Some(weight) = of_errors {
            self.paths.errors.add(&route, weight);
        }
    }

    /// Takes the values of a metric line. Returns how many there are.
    #[inline]
    pub(crate) fn samples(&mut self, batch: &mut BatchMetrics, samples: &Samples<'_>, signal: &Signal<'_>) -> u64 {
        let source = if samples.source().is_empty() { signal.process } else { samples.source() };
        if !self.wants.feed(samples.feed()) {
            return samples.count() as u64;
        }
        // An app may name its sources as it likes, and as many: they must not take the places of dynos.
        let place = if samples.feed() == Feed::Custom { 0 } else { self.source(source) };
        let of = Origin { feed: samples.feed(), source, place };
        let (mut count, mut total, mut quota) = (0, 0.0, 0.0);
        let mut before = self.last_alias.get(usize::from(of.place)).copied().unwrap_or(NO_ALIAS);
        let runtime = samples.feed() == Feed::Runtime;
        for sample in *samples {
            count += 1;
            let (series, value) = self.sample(&of, &sample, &mut before);
            if series < UNWANTED {
                batch.seen.push(Seen::Value { series, value, at: signal.at });
            }
            self.refused += u64::from(series == REFUSED);
            if runtime {
                match sample.name {
                    b"memory_total" => total = sample.value,
                    b"memory_quota" => quota = sample.value,
                    _ => {}
                }
            }
        }
        if quota > 0.0 {
            let percent = Sample {
                kind: dynowatch_logplex::SampleKind::Sample,
                name: b"memory_percent",
                value: (total / quota * 1e4).round() / 1e2,
                unit: dynowatch_logplex::Unit::Percent,
                written: 0.0,
            };
            let (series, value) = self.sample(&of, &percent, &mut before);
            if series < UNWANTED {
                batch.seen.push(Seen::Value { series, value, at: signal.at });
            }
        }
        if let Some(last) = self.last_alias.get_mut(usize::from(of.place)) {
            *last = before;
        }
        count
    }

    /// The series of a value, and the value in its unit. `before` is the alias of the line's value before it, and becomes
    /// this one's.
    #[inline]
    fn sample(&mut self, of: &Origin<'_>, sample: &Sample<'_>, before: &mut u32) -> (u32, f64) {
        let next = self.aliases.get(*before as usize).map_or(NO_ALIAS, |alias| alias.next);
        if let Some(alias) = self.aliases.get(next as usize)
            && alias.is(of, sample)
        {
            *before = next;
            return (alias.series, alias.convert.apply(sample));
        }
        self.far_sample(of, sample, before)
    }

    #[inline(never)]
    fn far_sample(&mut self, of: &Origin<'_>, sample: &Sample<'_>, before: &mut u32) -> (u32, f64) {
        let hash = self.hasher.hash_one((of.feed, sample.kind, of.source, sample.name));
        let aliases = &self.aliases;
        let is = |place: &u32| aliases.get(*place as usize).is_some_and(|alias| alias.is(of, sample));
        let Some(place) = self.by_alias.find(hash, is).copied() else {
            return self.learn(hash, of, sample);
        };
        if let Some(previous) = self.aliases.get_mut(*before as usize) {
            previous.next = place;
        }
        *before = place;
        let alias = self.aliases.get(place as usize);
        alias.map_or((REFUSED, 0.0), |alias| (alias.series, alias.convert.apply(sample)))
    }

    #[cold]
    fn learn(&mut self, hash: u64, of: &Origin<'_>, sample: &Sample<'_>) -> (u32, f64) {
        let Origin { feed, source, place: source_place } = *of;
        let (metric, kind, convert) = names::metric(feed, sample);
        let key = SeriesKey { metric: metric.into(), kind, source: source_name(source).into(), label: "".into() };
        let series = self.series(&key);
        let long = source.len() > 256 || sample.name.len() > 256;
        if !long && self.aliases.len() < 2 * SERIES_MAX {
            let place = u32::try_from(self.aliases.len()).unwrap_or(NO_ALIAS);
            self.aliases.push(Alias {
                feed,
                kind: sample.kind,
                unit: sample.unit,
                source: source.into(),
                place: source_place,
                name: sample.name.into(),
                series,
                convert,
                next: NO_ALIAS,
            });
            let (hasher, aliases) = (&self.hasher, &self.aliases);
            self.by_alias.insert_unique(hash, place, |place| {
                aliases.get(*place as usize).map_or(0, |a| hasher.hash_one((a.feed, a.kind, &*a.source, &*a.name)))
            });
        }
        (series, convert.apply(sample))
    }

    /// Codes, steps of a dyno's life, what somebody did through the API.
    #[cold]
    fn platform(&mut self, batch: &mut BatchMetrics, record: &Record<'_>, signal: &Signal<'_>) {
        let source = source_name(signal.dyno);
        let told = |metric: &str, label: &str| Told { metric: metric.to_owned(), label: label.to_owned() };
        let counted: Vec<Told> = match record {
            Record::DynoError { code, .. } => vec![told("platform.errors", &code_label('R', code.number()))],
            Record::Loss(loss) => vec![told("platform.errors", &code_label('L', loss.code.number()))],
            Record::DynoState { to, .. } => {
                let state = name_of(to);
                let more = match state.as_str() {
                    "starting" => Some("dyno.starts"),
                    "crashed" => Some("dyno.crashes"),
                    _ => None,
                };
                self.events.state(signal.at, signal.dyno, &state);
                more.map(|metric| told(metric, "")).into_iter().chain([told("dyno.states", &state)]).collect()
            }
            Record::DynoExit { status } => {
                let status = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
                vec![told("dyno.exits", &status)]
            }
            Record::DynoOther(DynoEvent::Restarting) => {
                self.events.restart(signal.at, signal.dyno);
                vec![told("dyno.restarts", "restart")]
            }
            Record::DynoOther(DynoEvent::Cycling) => vec![told("dyno.restarts", "cycle")],
            Record::Api(line) => {
                self.events.api(signal.at, line);
                Vec::new()
            }
            _ => Vec::new(),
        };
        let of_app = matches!(record, Record::Loss(_));
        for Told { metric, label } in counted {
            let source = if of_app { "" } else { source.as_str() };
            let key =
                SeriesKey { metric: metric.into(), kind: Kind::Counter, source: source.into(), label: label.into() };
            let series = self.series(&key);
            if series < UNWANTED {
                batch.seen.push(Seen::Value { series, value: 1.0, at: signal.at });
            }
            self.refused += u64::from(series == REFUSED);
        }
    }

    /// The place of a dyno, or of another thing that lines tell of, among the sources; 0 for none, or when there are too many.
    #[inline]
    fn source(&mut self, name: &[u8]) -> u16 {
        if name.is_empty() {
            return 0;
        }
        let near = near(name);
        let place = self.near.0.get(near).copied().unwrap_or(0);
        if self.names.get(usize::from(place)).is_some_and(|known| **known == *name) {
            return place;
        }
        let place = self.far_source(name);
        if let Some(held) = self.near.0.get_mut(near) {
            *held = place;
        }
        place
    }

    #[inline(never)]
    fn far_source(&mut self, name: &[u8]) -> u16 {
        let hash = self.hasher.hash_one(name);
        match self.by_source.find(hash, |place| self.names.get(usize::from(*place)).is_some_and(|n| **n == *name)) {
            Some(place) => *place,
            None => self.new_source(hash, name),
        }
    }

    #[cold]
    fn new_source(&mut self, hash: u64, name: &[u8]) -> u16 {
        if self.sources.is_empty() {
            self.sources.push("".into());
            self.names.push(Box::default());
            self.last_alias.push(NO_ALIAS);
        }
        let place = u16::try_from(self.sources.len()).unwrap_or(0);
        if self.sources.len() >= SOURCES_MAX || name.len() > 256 {
            return 0;
        }
        self.sources.push(source_name(name).into());
        self.names.push(name.into());
        self.last_alias.push(NO_ALIAS);
        let (hasher, names) = (&self.hasher, &self.names);
        self.by_source.insert_unique(hash, place, |place| {
            names.get(usize::from(*place)).map_or(0, |name| hasher.hash_one(&**name))
        });
        place
    }

    /// The place of a series, which it gets when it is new and there is room.
    fn series(&mut self, key: &SeriesKey) -> u32 {
        let hash = self.hasher.hash_one(key);
        let keys = &self.keys;
        if let Some(place) = self.by_key.find(hash, |place| keys.get(*place as usize) == Some(key)) {
            return *place;
        }
        if !self.wants.metric(&key.metric) {
            return UNWANTED;
        }
        let place = u32::try_from(keys.len()).unwrap_or(REFUSED);
        if keys.len() >= SERIES_MAX {
            return REFUSED;
        }
        let keys = Arc::make_mut(&mut self.keys);
        keys.push(key.clone());
        self.newest.push(Newest { value: 0.0, at: Timestamp::from_micros(i64::MIN), kind: key.kind });
        let hasher = &self.hasher;
        self.by_key.insert_unique(hash, place, |place| keys.get(*place as usize).map_or(0, |key| hasher.hash_one(key)));
        place
    }

    /// Adds a batch that counts. `now` decides what is too late. Returns whether open slots take so
    /// much that a flush is due.
    pub(crate) fn apply(&mut self, batch: &BatchMetrics, now: Timestamp) -> bool {
        self.apply_rest(batch, now, |_, _, _, _| false);
        self.open.len() > SLOTS_ALWAYS && self.open_bytes > OPEN_BYTES_MAX / 2
    }

    /// Adds what of a batch `aside` does not take: it is given the place of a series, the series, the slot and the value.
    #[inline]
    pub(crate) fn apply_rest(
        &mut self,
        batch: &BatchMetrics,
        now: Timestamp,
        mut aside: impl FnMut(u32, &SeriesKey, Timestamp, f64) -> bool,
    ) {
        for (stretch, seen) in batch.parts() {
            let Some(open) = slot(&mut self.open, self.open_bytes, stretch.at, now) else {
                self.late += stretch.lines;
                continue;
            };
            open.lines += stretch.lines;
            let before = open.bytes;
            for seen in seen {
                match seen {
                    Seen::Request(request) => open.request(request),
                    Seen::Value { series, value, at } => {
                        if self.keys.get(*series as usize).is_some_and(|key| aside(*series, key, stretch.at, *value)) {
                            continue;
                        }
                        let Some(newest) = self.newest.get_mut(*series as usize) else { continue };
                        open.value(*series, newest.kind, *value);
                        if newest.kind == Kind::Counter {
                            newest.value += value;
                        } else if *at >= newest.at {
                            newest.value = *value;
                        }
                        newest.at = newest.at.max(*at);
                    }
                }
            }
            self.open_bytes += open.bytes - before;
        }
    }

    /// The open slots' values, which are the caller's to store from now on.
    pub(crate) fn take(&mut self) -> Taken {
        let mut taken = Taken::new();
        self.open_bytes = 0;
        for open in std::mem::take(&mut self.open) {
            let at = open.at;
            if open.lines > 0 {
                taken.push((counter(SEEN_METRIC, "", ""), at, count(open.lines)));
            }
            for (place, requests) in open.requests.into_iter().enumerate() {
                let Some(requests) = requests else { continue };
                let source = self.sources.get(place).cloned().unwrap_or_else(|| "".into());
                requests.into_values(&source, |key, value| taken.push((key, at, value)));
            }
            for (place, cell) in open.cells {
                let Some(key) = self.keys.get(place as usize) else { continue };
                let value = match cell {
                    Cell::Counter(sum) => Value::Counter(sum),
                    Cell::Gauge(gauge) => Value::Gauge(gauge),
                    Cell::Distribution(tally) => Value::Distribution(tally.sketch()),
                };
                taken.push((key.clone(), at, value));
            }
        }
        taken
    }

    /// The newest value of every series that metric lines and the platform told of. Short: names are shared, not copied.
    pub(crate) fn latest(&self) -> (Arc<Vec<SeriesKey>>, Vec<(f64, Timestamp)>) {
        (Arc::clone(&self.keys), self.newest.iter().map(|newest| (newest.value, newest.at)).collect())
    }

    /// How many series there are.
    pub(crate) fn series_count(&self) -> usize {
        self.keys.len()
    }
}

/// The open slot of that moment, which is opened when it is not too old.
#[inline]
fn slot(open: &mut Vec<Open>, bytes: usize, at: Timestamp, now: Timestamp) -> Option<&mut Open> {
    // The newest is the last, and nearly always the one.
    match open.iter().rposition(|known| known.at == at) {
        Some(place) => open.get_mut(place),
        None if now.since(at) > LATE_MAX || (open.len() >= SLOTS_ALWAYS && bytes >= OPEN_BYTES_MAX) => None,
        None => {
            open.push(Open { at, lines: 0, requests: Vec::new(), places: Vec::new(), cells: Vec::new(), bytes: 0 });
            open.last_mut()
        }
    }
}

impl Open {
    #[inline]
    fn request(&mut self, request: &Request) {
        let place = usize::from(request.source);
        if place >= self.requests.len() {
            self.requests.resize_with(place + 1, || None);
        }
        let Some(held) = self.requests.get_mut(place) else { return };
        let held = held.get_or_insert_with(|| {
            self.bytes += DISTRIBUTION_BYTES;
            Box::default()
        });
        up(&mut held.statuses, request.status);
        if request.code > 0 {
            up(&mut held.codes, request.code);
        }
        held.bytes = held.bytes.saturating_add(request.bytes);
        if let Some(ms) = request.service_ms {
            held.service.add(u64::from(ms));
        }
        if let Some(ms) = request.connect_ms {
            match held.connect.get_mut(ms as usize) {
                Some(count) => *count = count.saturating_add(1),
                None => held.slow_connect.add(u64::from(ms)),
            }
        }
    }

    #[inline]
    fn value(&mut self, series: u32, kind: Kind, value: f64) {
        let place = self.places.get(series as usize).map_or(0, |place| *place as usize);
        let cell = match place.checked_sub(1) {
            Some(place) => self.cells.get_mut(place),
            None => self.begin(series, kind, value),
        };
        let Some((_, cell)) = cell else { return };
        match cell {
            Cell::Counter(sum) => *sum += value,
            Cell::Gauge(gauge) if gauge.n == 0 => *gauge = Gauge::once(value),
            Cell::Gauge(gauge) => gauge.merge(&Gauge::once(value)),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "what lies below zero is kept as zero, what is too great as the greatest"
            )]
            Cell::Distribution(tally) => tally.add((value * 1_000.0).round() as u64),
        }
    }
}

impl Open {
    /// A cell for a series that had none in this slot.
    #[cold]
    fn begin(&mut self, series: u32, kind: Kind, value: f64) -> Option<&mut (u32, Cell)> {
        self.bytes += if kind == Kind::Distribution { DISTRIBUTION_BYTES } else { VALUE_BYTES };
        let cell = match kind {
            Kind::Counter => Cell::Counter(0.0),
            Kind::Gauge => Cell::Gauge(Gauge { n: 0, ..Gauge::once(value) }),
            Kind::Distribution => Cell::Distribution(Tally::default()),
        };
        self.cells.push((series, cell));
        let at = series as usize;
        if at >= self.places.len() {
            self.places.resize(at + 1, 0);
        }
        if let (Some(place), Ok(n)) = (self.places.get_mut(at), u32::try_from(self.cells.len())) {
            *place = n;
        }
        self.cells.last_mut()
    }
}

#[inline]
fn up(counts: &mut Vec<(u16, u64)>, what: u16) {
    match counts.iter_mut().find(|(known, _)| *known == what) {
        Some((_, count)) => *count += 1,
        None => counts.push((what, 1)),
    }
}

impl Requests {
    fn into_values(self, source: &Arc<str>, mut each: impl FnMut(SeriesKey, Value)) {
        for (status, n) in self.statuses {
            let label = if status == 0 { "none".to_owned() } else { status.to_string() };
            each(counter("router.requests", source, &label), count(n));
        }
        for (code, n) in self.codes {
            each(counter("platform.errors", source, &code_label('H', code)), count(n));
        }
        if self.bytes > 0 {
            each(counter("router.bytes", source, ""), count(self.bytes));
        }
        let mut connect = self.slow_connect.sketch();
        for (ms, n) in (0..).zip(self.connect) {
            connect.merge(&Sketch::repeated(ms, u64::from(n)));
        }
        for (metric, sketch) in [("router.service_ms", self.service.sketch()), ("router.connect_ms", connect)] {
            if sketch.n() > 0 {
                let key = SeriesKey { kind: Kind::Distribution, ..counter(metric, source, "") };
                each(key, Value::Distribution(sketch));
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not happen in ten seconds")]
fn count(n: u64) -> Value {
    Value::Counter(n as f64)
}

fn counter(metric: &str, source: &str, label: &str) -> SeriesKey {
    SeriesKey { metric: metric.into(), kind: Kind::Counter, source: source.into(), label: label.into() }
}

fn code_label(letter: char, number: u16) -> String {
    format!("{letter}{number:02}")
}

/// The source of a series: a dyno by its name, one-off dynos by their type, since each is there once.
pub(super) fn source_name(name: &[u8]) -> String {
    let name = name_of(name);
    match dyno_type(&name) {
        Some(process) if is_one_off(process) => process.to_owned(),
        _ => name,
    }
}

/// Whether dynos of that type come once and never again.
pub(crate) fn is_one_off(process: &str) -> bool {
    matches!(process, "run" | "scheduler" | "release" | "heroku-run")
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
