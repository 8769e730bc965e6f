//! The server's own counters against the workload's oracle. A fast wrong answer is worth nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

const METRICS_BYTES_MAX: usize = 16 << 20;

/// What is counted, for one app or for all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    lines: u64,
    service_ms: u64,
    router_bytes: u64,
    samples: u64,
    /// Platform errors by code.
    codes: BTreeMap<String, u64>,
    /// Router lines by status class.
    status: BTreeMap<String, u64>,
}

/// `/metrics` at one moment, by app.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<String, Counts>);

/// `expected.json`: the totals, and the apps where the workload tells them apart.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    total: Counts,
    apps: BTreeMap<String, Counts>,
}

/// Reads `/metrics`, which is open on loopback.
pub(crate) async fn read(address: SocketAddr) -> Result<Snapshot> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/metrics").header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status() == StatusCode::OK, "GET /metrics answers {}", response.status());
    let body = Limited::new(response.into_body(), METRICS_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow!("GET /metrics: {error}"))?;
    Snapshot::parse(std::str::from_utf8(&body.to_bytes())?)
}

impl Snapshot {
    fn parse(text: &str) -> Result<Self> {
        let mut snapshot = Snapshot::default();
        for line in text.lines().filter(|line| line.starts_with("dynowatch_")) {
            let metric = Metric::parse(line).with_context(|| format!("/metrics line `{line}`"))?;
            snapshot.add(&metric)?;
        }
        Ok(snapshot)
    }

    fn add(&mut self, metric: &Metric<'_>) -> Result<()> {
        let Some(app) = metric.label("app") else {
            return Ok(());
        };
        let counts = self.0.entry(app).or_default();
        let label = |name: &str| metric.label(name).with_context(|| format!("{} has no label {name}", metric.name));
        match metric.name {
            "dynowatch_lines_total" => counts.lines += metric.value,
            "dynowatch_router_service_ms_total" => counts.service_ms += metric.value,
            "dynowatch_router_bytes_total" => counts.router_bytes += metric.value,
            "dynowatch_samples_total" => counts.samples += metric.value,
            "dynowatch_platform_errors_total" => *counts.codes.entry(label("code")?).or_default() += metric.value,
            "dynowatch_router_requests_total" => {
                *counts.status.entry(label("status_class")?).or_default() += metric.value;
            }
            _ => {}
        }
        Ok(())
    }

    /// What has been counted since an earlier snapshot.
    pub(crate) fn since(&self, before: &Snapshot) -> Snapshot {
        let none = Counts::default();
        Snapshot(self.0.iter().map(|(app, now)| (app.clone(), now.since(before.0.get(app).unwrap_or(&none)))).collect())
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.0.values() {
            total.lines += counts.lines;
            total.service_ms += counts.service_ms;
            total.router_bytes += counts.router_bytes;
            total.samples += counts.samples;
            for (into, from) in [(&mut total.codes, &counts.codes), (&mut total.status, &counts.status)] {
                for (key, value) in from {
                    *into.entry(key.clone()).or_default() += value;
                }
            }
        }
        total
    }
}

impl Counts {
    fn since(&self, before: &Counts) -> Counts {
        let minus = |now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            now.iter()
                .map(|(key, value)| (key.clone(), value.saturating_sub(before.get(key).copied().unwrap_or(0))))
                .collect()
        };
        Counts {
            lines: self.lines.saturating_sub(before.lines),
            service_ms: self.service_ms.saturating_sub(before.service_ms),
            router_bytes: self.router_bytes.saturating_sub(before.router_bytes),
            samples: self.samples.saturating_sub(before.samples),
            codes: minus(&self.codes, &before.codes),
            status: minus(&self.status, &before.status),
        }
    }

    fn parse(json: &Value) -> Result<Self> {
        let number = |key: &str| json[key].as_u64().with_context(|| format!("expected.json: no number {key}"));
        let map = |key: &str| -> BTreeMap<String, u64> {
            let entries = json[key].as_object().into_iter().flatten();
            entries.filter_map(|(key, value)| Some((key.clone(), value.as_u64()?))).collect()
        };
        // The referee names codes by kind only.
        let mut codes = map("codes");
        if codes.is_empty() {
            for (kind, code) in [("router_h12", "H12"), ("router_h13", "H13"), ("dyno_r14", "R14")] {
                codes.insert(code.to_owned(), json["kinds"][kind].as_u64().unwrap_or(0));
            }
        }
        Ok(Counts {
            lines: number("lines")?,
            service_ms: number("router_service_ms_sum")?,
            router_bytes: number("router_bytes_sum")?,
            samples: json["samples"].as_u64().unwrap_or(0),
            codes,
            status: map("router_status"),
        })
    }

    /// One text per counter that is not `passes` times what it should be.
    fn differences(&self, found: &Counts, passes: u64, whose: &str) -> Vec<String> {
        let mut rows = vec![
            ("lines".to_owned(), self.lines, found.lines),
            ("router service ms".to_owned(), self.service_ms, found.service_ms),
            ("router bytes".to_owned(), self.router_bytes, found.router_bytes),
            ("samples".to_owned(), self.samples, found.samples),
        ];
        for (want, found) in [(&self.codes, &found.codes), (&self.status, &found.status)] {
            let keys: std::collections::BTreeSet<&String> = want.keys().chain(found.keys()).collect();
            let value = |map: &BTreeMap<String, u64>, key: &String| map.get(key).copied().unwrap_or(0);
            rows.extend(keys.into_iter().map(|key| (key.clone(), value(want, key), value(found, key))));
        }
        rows.into_iter()
            .filter(|(_, want, found)| want * passes != *found)
            .map(|(what, want, found)| format!("{whose}: {what} is {found}, want {}", want * passes))
            .collect()
    }
}

impl Expected {
    /// Reads `expected.json`. Samples that it does not count are counted in the bodies: nothing but a sample line
    /// holds `sample#` there.
    pub(crate) fn parse(json: &[u8], bodies: &[u8]) -> Result<Self> {
        let json: Value = serde_json::from_slice(json).context("expected.json")?;
        let mut total = Counts::parse(&json)?;
        if json["samples"].is_null() {
            total.samples = bodies.windows(7).filter(|window| *window == b"sample#").count() as u64;
        }
        let apps = json["apps"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(app, counts)| Ok((app.clone(), Counts::parse(counts)?)))
            .collect::<Result<_>>()?;
        Ok(Expected { total, apps })
    }

    /// One text per counter that is wrong after so many passes; empty when all is right.
    pub(crate) fn differences(&self, found: &Snapshot, passes: u64) -> Vec<String> {
        let none = Counts::default();
        let mut differences = self.total.differences(&found.total(), passes, "all apps");
        for (app, want) in &self.apps {
            differences.extend(want.differences(found.0.get(app).unwrap_or(&none), passes, app));
        }
        differences
    }
}

/// One sample of the Prometheus text format.
struct Metric<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: u64,
}

impl<'a> Metric<'a> {
    fn parse(line: &'a str) -> Result<Self> {
        let name_end = line.find(['{', ' ']).context("no value")?;
        let (name, mut rest) = line.split_at(name_end);
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while let Some(start) = rest.find("=\"").filter(|_| !rest.starts_with('}')) {
                let key = rest[..start].trim_start_matches(',');
                let (value, length) = quoted(&rest[start + 2..]).context("a label without its end")?;
                labels.push((key, value));
                rest = &rest[start + 2 + length..];
            }
            rest = rest.trim_start_matches(',').strip_prefix('}').context("no closing brace")?;
        }
        let value = rest.split_ascii_whitespace().next().context("no value")?;
        // Gauges may be negative or not whole; no counter that is compared is.
        let value = value.parse::<f64>().context("value")?.max(0.0) as u64;
        Ok(Metric { name, labels, value })
    }

    fn label(&self, name: &str) -> Option<String> {
        let found = self.labels.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.clone())
    }
}

/// A label's value up to its closing quote, unescaped, and the length read with the quote.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, at + 1)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = r#"
# TYPE dynowatch_lines counter
dynowatch_lines_total{app="shop",kind="router"} 70
dynowatch_lines_total{app="shop",kind="app"} 15
dynowatch_lines_total{kind="app",app="a \"b\" }, c\\",} 5
dynowatch_platform_errors_total{app="shop",code="H12"} 3
dynowatch_router_requests_total{app="shop",status_class="5xx"} 4 1778140800
dynowatch_router_requests_total{app="shop",status_class="2xx"} 6.6e1
dynowatch_router_service_ms_total{app="shop"} 1234
dynowatch_router_bytes_total{app="shop"} 5678
dynowatch_samples_total{app="shop"} 9
dynowatch_outbox_age_seconds 0.5
dynowatch_clock_skew_seconds -0.5
go_info{version="x"} 1
"#;
    const EXPECTED: &str = r#"{
        "lines": 90, "router_service_ms_sum": 1234, "router_bytes_sum": 5678, "samples": 9,
        "codes": {"H12": 3}, "router_status": {"2xx": 66, "5xx": 4},
        "apps": {"shop": {"lines": 85, "router_service_ms_sum": 1234, "router_bytes_sum": 5678, "samples": 9,
                          "codes": {"H12": 3}, "router_status": {"2xx": 66, "5xx": 4}}}
    }"#;

    #[test]
    fn right_counters_have_no_differences() {
        let snapshot = Snapshot::parse(METRICS).unwrap();
        assert_eq!(snapshot.0["a \"b\" }, c\\"].lines, 5);
        let expected = Expected::parse(EXPECTED.as_bytes(), b"").unwrap();
        assert_eq!(expected.differences(&snapshot, 1), Vec::<String>::new());
    }

    #[test]
    fn wrong_counters_are_named_with_both_numbers() {
        let check = |from: &str, to: &str, passes: u64, want: &[&str]| {
            let snapshot = Snapshot::parse(&METRICS.replace(from, to)).unwrap();
            let expected = Expected::parse(EXPECTED.as_bytes(), b"").unwrap();
            assert_eq!(expected.differences(&snapshot, passes), want);
        };
        let all_and_shop = ["all apps: H12 is 4, want 3", "shop: H12 is 4, want 3"];
        check("code=\"H12\"} 3", "code=\"H12\"} 4", 1, &all_and_shop);
        let surplus = ["all apps: R14 is 3, want 0", "all apps: H12 is 0, want 3"];
        let snapshot = Snapshot::parse(&METRICS.replace("H12", "R14")).unwrap();
        let expected = Expected::parse(EXPECTED.as_bytes(), b"").unwrap();
        for text in surplus {
            assert!(expected.differences(&snapshot, 1).contains(&text.to_owned()), "{text}");
        }
        let snapshot = Snapshot::parse(METRICS).unwrap();
        assert!(expected.differences(&snapshot, 2).contains(&"all apps: lines is 90, want 180".to_owned()));
    }

    #[test]
    fn only_what_came_since_counts() {
        let snapshot = Snapshot::parse(METRICS).unwrap();
        assert_eq!(snapshot.since(&snapshot).total().lines, 0);
        assert_eq!(snapshot.since(&Snapshot::default()), snapshot);
    }

    #[test]
    fn the_referees_oracle_is_read_too() {
        let json = r#"{"lines": 4, "router_service_ms_sum": 1, "router_bytes_sum": 2, "router_status": {"2xx": 3},
            "kinds": {"router_h12": 7, "dyno_r14": 8}}"#;
        let expected = Expected::parse(json.as_bytes(), b"sample#a=1 sample#b=2").unwrap();
        assert_eq!(expected.total.samples, 2);
        assert_eq!((expected.total.codes["H12"], expected.total.codes["R14"]), (7, 8));
        assert!(Expected::parse(b"{}", b"").is_err());
    }

    #[test]
    fn broken_metrics_are_refused() {
        for bad in ["dynowatch_x", "dynowatch_x{app=\"a} 1", "dynowatch_x{app=\"a\" 1", "dynowatch_x{} y"] {
            assert!(Snapshot::parse(bad).is_err(), "{bad}");
        }
    }
}
