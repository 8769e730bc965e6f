//! What the fuzz targets run, so that cargo-fuzz, the replay of the committed corpus and the property tests run the same.
//! Each takes any bytes, calls everything that reads them, and checks what must hold for all of them.

use crate::frame::{FRAME_BYTES_MAX, Frame, frames};
use crate::message::{Message, message};
use crate::record::api::{ApiEvent, ApiLine, config_names, formation};
use crate::record::app::AppLine;
use crate::record::loss::LogLoss;
use crate::record::postgres::PostgresLine;
use crate::record::router::RouterLine;
use crate::record::samples::{Feed, Samples};
use crate::record::{Record, record};
use crate::stamp::StampCache;
use crate::{Format, complete_prefix, detect, entries};

/// One POST body, and the same bytes as a file.
pub fn body(data: &[u8]) {
    let mut cache = StampCache::default();
    let mut taken = 0;
    for frame in frames(data) {
        if let Frame::Message(raw) = frame {
            assert!(!raw.is_empty() && raw.len() <= FRAME_BYTES_MAX);
            taken += raw.len();
            if let Ok(m) = message(raw, &mut cache) {
                visit(&m);
            }
        }
    }
    assert!(taken <= data.len(), "frames do not overlap");
    for format in [detect(data), Format::Logplex, Format::HerokuLogs, Format::Syslog] {
        let whole = complete_prefix(format, data);
        let mut walk = entries(format, &data[..whole]);
        let bad = walk.by_ref().filter(|frame| *frame == Frame::Bad(crate::Malformed::Truncated)).count();
        assert_eq!(bad, 0, "a complete prefix ends between entries");
        let (all, head) = (entries(format, data).count(), entries(format, &data[..whole]).count());
        assert!(all - head <= 1, "at most one entry is incomplete");
    }
}

/// One frame's octets, or one line.
pub fn line(data: &[u8]) {
    let mut warm = StampCache::default();
    let first = message(data, &mut warm);
    assert_eq!(first, message(data, &mut warm), "what the cache holds changes nothing");
    assert_eq!(first, message(data, &mut StampCache::default()));
    if let Ok(m) = first {
        assert!(!m.app_name.is_empty() && !m.proc_id.is_empty());
        visit(&m);
    }
}

/// The text of a router line.
pub fn router(data: &[u8]) {
    let line = RouterLine::parse(data);
    let fields = line.fields();
    if fields.ambiguous {
        assert!(fields.host.is_none() && fields.request_id.is_none() && fields.fwd.is_none());
    }
    assert!(line.status().is_none_or(|status| (100..=999).contains(&status)));
    // Nothing in front of the last quote can change what is read behind it, where the router's own part stands.
    if let Some(quote) = memchr::memrchr(b'"', data)
        && is_plain_tail(&data[quote + 1..])
    {
        let other = [b"at=info method=GET path=\"/\" fwd=\"".as_slice(), &data[quote..]].concat();
        let other = RouterLine::parse(&other);
        assert_eq!(line.status(), other.status());
        assert_eq!(line.dyno(), other.dyno());
        assert_eq!(line.service_ms(), other.service_ms());
        assert_eq!(line.bytes(), other.bytes());
        assert_eq!(line.protocol(), other.protocol());
    }
}

/// Whether `b` is ` key=value` of the router's own keys, over and over.
fn is_plain_tail(b: &[u8]) -> bool {
    let keys: [&[u8]; 8] = [b"dyno", b"connect", b"service", b"status", b"bytes", b"protocol", b"tls", b"tls_version"];
    b.strip_prefix(b" ").is_some_and(|b| {
        b.split(|&c| c == b' ').all(|token| {
            let key = token.iter().position(|&c| c == b'=').map(|eq| &token[..eq]);
            key.is_some_and(|key| keys.contains(&key))
        })
    })
}

/// The text of a metric line.
pub fn samples(data: &[u8]) {
    let line = Samples::parse(Feed::Custom, data);
    assert!(line.source().len() + line.addon().map_or(0, <[u8]>::len) <= data.len());
    for sample in line {
        assert!(!sample.name.is_empty() && sample.value.is_finite() && sample.written.is_finite());
    }
}

/// Reads a message by every grammar, not by its own alone.
fn visit(m: &Message<'_>) {
    let of_source = record(m);
    let _ = (of_source.kind(), of_source.code());
    if m.app_name != b"heroku" && m.proc_id != b"log-shuttle" && !m.proc_id.starts_with(b"run.") {
        assert_eq!(of_source.code(), None, "codes come from the platform");
    }
    if let Record::Router(line) = of_source {
        let _ = line.fields();
    }
    router(m.text);
    samples(m.text);
    let _ = (AppLine::parse(m.text), LogLoss::parse(m.text), PostgresLine::parse(m.text));
    match ApiLine::parse(m.text).event {
        ApiEvent::ConfigSet { names } => drop(config_names(names).count()),
        ApiEvent::Scaled { formation: text } => drop(formation(text).count()),
        _ => {}
    }
    for (app_name, proc_id) in [(&b"heroku"[..], &b"web.1"[..]), (b"heroku", b"router"), (b"app", b"run.1")] {
        let _ = record(&Message { app_name, proc_id, ..*m }).kind();
    }
}
