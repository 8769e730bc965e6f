//! Makes messages and frames, and shows bytes in failures.

use dynowatch_logplex::{Frame, Message, Record, StampCache, frames, message, record};

pub(crate) const STAMP: &str = "2025-03-04T10:00:00.123456+00:00";

/// `LEN <190>1 STAMP host NAME PROC - TEXT`.
pub(crate) fn framed(name: &str, proc: &str, text: &[u8]) -> Vec<u8> {
    counted(&[format!("<190>1 {STAMP} host {name} {proc} - ").as_bytes(), text].concat())
}

pub(crate) fn counted(raw: &[u8]) -> Vec<u8> {
    [format!("{} ", raw.len()).as_bytes(), raw].concat()
}

/// What the walk makes of a body: messages as text, bad frames as `!reason`.
pub(crate) fn walked(body: &[u8]) -> Vec<String> {
    frames(body)
        .map(|frame| match frame {
            Frame::Message(raw) => String::from_utf8_lossy(raw).into_owned(),
            Frame::Bad(reason) => format!("!{reason}"),
        })
        .collect()
}

/// The records of a body: `kind code?`, bad frames and headers as `!reason`.
pub(crate) fn kinds(body: &[u8]) -> Vec<String> {
    let mut cache = StampCache::default();
    frames(body)
        .map(|frame| match frame {
            Frame::Bad(reason) => format!("!{reason}"),
            Frame::Message(raw) => match message(raw, &mut cache) {
                Err(reason) => format!("!{reason}"),
                Ok(m) => shown(&record(&m)),
            },
        })
        .collect()
}

pub(crate) fn shown(record: &Record<'_>) -> String {
    match record.code() {
        Some(code) => format!("{} {code}", record.kind()),
        None => record.kind().to_string(),
    }
}

pub(crate) fn of<'a>(app_name: &'a str, proc_id: &'a str, text: &'a str) -> Message<'a> {
    Message {
        at_us: 0,
        app_name: app_name.as_bytes(),
        proc_id: proc_id.as_bytes(),
        drain_token: None,
        pri: None,
        text: text.as_bytes(),
        newline: true,
    }
}

pub(crate) fn text(b: &[u8]) -> String {
    String::from_utf8_lossy(b).into_owned()
}
