//! From the store to requests: at the end of every interval the values of all apps, as Prometheus knows them. Counters are
//! running sums that begin anew with the process, levels their newest value, distributions a summary. A series that says
//! nothing any more gets the marker that ends it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use dynowatch_domain::metric::catalogue::resolution;
use dynowatch_domain::metric::exposition::{Exposed, exposed};
use dynowatch_domain::metric::query::SEEN_METRIC;
use dynowatch_domain::metric::{SeriesKey, Value, chunk};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_notify::remote_write::{STALE, Series};
use dynowatch_store::StoreError;
use dynowatch_store::metric_values::{Chunks, Found, Wanted};

use super::RemoteWrite;

/// Lines come late and flushes every ten seconds: an interval is written this long after its end.
const LAG: Duration = Duration::from_secs(30);
/// After an outage of the store this many intervals are made up for; older ones stay missing.
const CATCH_UP_MAX: u32 = 10;
/// A series that was silent for this long has ended; Prometheus itself looks back as far.
const SILENT_MAX: Duration = Duration::from_secs(300);
/// Series over all apps. Further ones are counted as dropped.
const SERIES_MAX: usize = 200_000;
const LEASE: &str = "remote_write";
const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)];
/// Series note that they are alive this often at least.
const NOTED_EVERY: Duration = Duration::from_secs(26 * 3_600);

/// What was written so far.
#[derive(Default)]
pub(super) struct Collected {
    until: Option<Timestamp>,
    series: HashMap<(AppId, SeriesKey), Written>,
}

/// One series' last sample.
struct Written {
    app_name: String,
    last_at: Timestamp,
    /// Of a counter its sum; of a distribution the sum of its values.
    total: f64,
    /// Of a distribution, how many values.
    count: f64,
}

impl RemoteWrite {
    /// Makes the requests of every interval that is over. Of several processes one does it.
    ///
    /// # Errors
    /// When the store does not answer; the interval is made up for.
    pub async fn collect(&self) -> Result<(), StoreError> {
        let (engine, interval) = (&self.engine, self.options.interval);
        let now = engine.now();
        let target = (now - LAG).floor(interval);
        let mut collected = self.collected.lock().await;
        let from = collected.until.unwrap_or(target - interval).max(target - interval * CATCH_UP_MAX);
        if from >= target {
            return Ok(());
        }
        let process = engine.shared.process.to_string();
        if engine.store().acquire_lease(LEASE, &process, now, interval * 2 + LAG).await?.is_none() {
            *collected = Collected { until: Some(target), ..Collected::default() };
            return Ok(());
        }
        let mut begin = from;
        while begin < target {
            let end = begin + interval;
            self.interval(&mut collected, begin, end).await?;
            collected.until = Some(end);
            begin = end;
        }
        Ok(())
    }

    async fn interval(&self, collected: &mut Collected, from: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        let mut out = Vec::new();
        for app in self.engine.apps().clone().iter() {
            let values = self.values(app.id, from, until).await?;
            let seen = values.keys().any(|key| &*key.metric == SEEN_METRIC);
            for (key, value) in values {
                let room = collected.series.len() < SERIES_MAX;
                let id = (app.id, key);
                if !room && !collected.series.contains_key(&id) {
                    self.stats().remote_write_dropped.up();
                    continue;
                }
                let exposed = exposed(&id.1);
                let written = collected.series.entry((id.0, id.1.clone())).or_insert_with(|| Written {
                    app_name: app.name.clone(),
                    last_at: until,
                    total: 0.0,
                    count: 0.0,
                });
                (written.last_at, written.app_name) = (until, app.name.clone());
                self.samples(&mut out, &exposed, written, &value, resolution(&id.1.metric), until);
            }
            if seen {
                self.repeat(&mut out, collected, app.id, until);
            }
        }
        self.end_silent(&mut out, collected, until);
        self.offer(&out);
        Ok(())
    }

    /// The values of an app in an interval, by series.
    async fn values(
        &self,
        app: AppId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<BTreeMap<SeriesKey, Value>, StoreError> {
        let store = self.engine.store();
        let wanted = Wanted { apps: &[app], from, until, series: &[], steps: &[], chunks: Chunks::All };
        let mut by_id: HashMap<u64, Value> = HashMap::new();
        let take = |found| {
            let Found::Chunk(body) = found else { return Ok(()) };
            let add = |id, at: Timestamp, value: Value| {
                if at < from || at >= until {
                    return;
                }
                let value = value.placed(u16::try_from(at.since(from).as_secs() / 10).unwrap_or(u16::MAX));
                match by_id.get_mut(&id) {
                    Some(known) => known.merge(&value),
                    None => drop(by_id.insert(id, value)),
                }
            };
            chunk::unpack(&body, |_| true, add)
                .ok_or_else(|| StoreError::Corrupt { what: "a chunk of metrics".to_owned() })
        };
        store.metric_values(&wanted, take).await?;
        if by_id.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys = store.series_of(app, until - NOTED_EVERY).await?;
        Ok(keys.into_iter().filter_map(|(id, key)| Some((key, by_id.remove(&id)?))).collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not happen")]
    fn samples(
        &self,
        out: &mut Vec<Series>,
        exposed: &Exposed<'_>,
        written: &mut Written,
        value: &Value,
        scale: f64,
        at: Timestamp,
    ) {
        match value {
            Value::Counter(sum) => {
                written.total += sum;
                out.push(self.series(exposed, &written.app_name, "_total", None).with(written.total, at));
            }
            Value::Gauge(gauge) => out.push(self.series(exposed, &written.app_name, "", None).with(gauge.last, at)),
            Value::Distribution(sketch) => {
                written.total += sketch.sum() as f64 * scale;
                written.count += sketch.n() as f64;
                out.push(self.series(exposed, &written.app_name, "_sum", None).with(written.total, at));
                out.push(self.series(exposed, &written.app_name, "_count", None).with(written.count, at));
                for (name, q) in QUANTILES {
                    if let Some(value) = sketch.quantile(q) {
                        let series = self.series(exposed, &written.app_name, "", Some(name));
                        out.push(series.with(value as f64 * scale, at));
                    }
                }
            }
        }
    }

    /// Where the app was seen, what was not counted did not happen: the sum stands.
    fn repeat(&self, out: &mut Vec<Series>, collected: &mut Collected, app: AppId, at: Timestamp) {
        use dynowatch_domain::metric::Kind;
        for ((of, key), written) in &mut collected.series {
            if *of != app || written.last_at >= at {
                continue;
            }
            let exposed = exposed(key);
            match key.kind {
                Kind::Counter => {
                    out.push(self.series(&exposed, &written.app_name, "_total", None).with(written.total, at));
                }
                Kind::Distribution => {
                    out.push(self.series(&exposed, &written.app_name, "_sum", None).with(written.total, at));
                    out.push(self.series(&exposed, &written.app_name, "_count", None).with(written.count, at));
                }
                Kind::Gauge => {}
            }
        }
    }

    /// Ends what has said nothing for long.
    fn end_silent(&self, out: &mut Vec<Series>, collected: &mut Collected, at: Timestamp) {
        use dynowatch_domain::metric::Kind;
        let silent_max = SILENT_MAX.max(self.options.interval * 3);
        collected.series.retain(|(_, key), written| {
            if at.since(written.last_at) < silent_max {
                return true;
            }
            let exposed = exposed(key);
            let mut end = |suffix: &str, quantile| {
                out.push(self.series(&exposed, &written.app_name, suffix, quantile).with(STALE, at));
            };
            match key.kind {
                Kind::Counter => end("_total", None),
                Kind::Gauge => end("", None),
                Kind::Distribution => {
                    end("_sum", None);
                    end("_count", None);
                    QUANTILES.iter().for_each(|(name, _)| end("", Some(*name)));
                }
            }
            false
        });
    }

    fn series(&self, exposed: &Exposed<'_>, app: &str, suffix: &str, quantile: Option<&str>) -> Series {
        let configured = self.options.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = exposed.labels.iter().map(|(name, value)| (*name, *value));
        let quantile = quantile.map(|quantile| ("quantile", quantile));
        let labels = configured.chain(labels).chain([("app", app)]).chain(quantile);
        Series::new(&format!("{}{suffix}", exposed.family), labels)
    }
}
