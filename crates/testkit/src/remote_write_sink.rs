//! The far end of Prometheus remote write, strict where a real one is lenient: what the specification forbids is answered
//! 400. Reads protobuf with a few lines of its own, so that a test does not trust the sender's code.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::http_fake::{Fake, Protocol, Reading, Received};

/// See [`Fake`] for scripts and assertions.
pub type RemoteWriteSink = Fake<RemoteWrite>;

/// The protocol of [`RemoteWriteSink`].
pub struct RemoteWrite {
    authorization: Option<String>,
}

/// An accepted request.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its series, in the order they were sent.
    pub series: Vec<WrittenSeries>,
}

/// One series of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenSeries {
    /// Labels by name, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Value and milliseconds since 1970.
    pub samples: Vec<(f64, i64)>,
}

impl WrittenSeries {
    /// As Prometheus prints it: `up{app="a"}`.
    #[must_use]
    pub fn show(&self) -> String {
        let labels: Vec<String> = self
            .labels
            .iter()
            .filter(|(name, _)| *name != "__name__")
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        format!("{}{{{}}}", self.labels.get("__name__").map_or("", String::as_str), labels.join(","))
    }
}

impl RemoteWriteSink {
    /// Takes everything that is well formed.
    pub async fn start() -> Self {
        Self::serve(RemoteWrite { authorization: None }).await
    }

    /// Refuses with 401 what does not carry this `Authorization` header.
    pub async fn start_with_authorization(value: &str) -> Self {
        Self::serve(RemoteWrite { authorization: Some(value.to_owned()) }).await
    }
}

impl Protocol for RemoteWrite {
    type Message = Written;

    const BASE_PATH: &'static str = "/api/v1/write";

    fn read(&self, request: &Received) -> Reading<Written> {
        if self.authorization.as_deref() != request.header("authorization") {
            return Reading::Reply((401, json!({"error": "who are you?"})));
        }
        match read(request) {
            Ok(series) => Reading::Message(request.path.clone(), Written { series }),
            Err(problem) => Reading::Reply((400, json!({"error": problem}))),
        }
    }

    fn accepted(&self, _message: &Written, _number: usize) -> (u16, Value) {
        (204, Value::Null)
    }
}

fn read(request: &Received) -> Result<Vec<WrittenSeries>, String> {
    let headers = [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
    ];
    for (name, wanted) in headers {
        if request.header(name) != Some(wanted) {
            return Err(format!("{name} is {:?}, not {wanted}", request.header(name)));
        }
    }
    if !request.header("user-agent").is_some_and(|agent| agent.starts_with("dynowatch/")) {
        return Err("no user agent with name and version".to_owned());
    }
    let body = snap::raw::Decoder::new().decompress_vec(&request.body).map_err(|error| error.to_string())?;
    fields(&body)?.into_iter().map(|(_, field)| series(field.bytes()?)).collect()
}

fn series(bytes: &[u8]) -> Result<WrittenSeries, String> {
    let (mut labels, mut samples, mut last) = (BTreeMap::new(), Vec::new(), String::new());
    for (number, field) in fields(bytes)? {
        let parts: BTreeMap<u64, Field<'_>> = fields(field.bytes()?)?.into_iter().collect();
        if number == 1 {
            let text = |number| match parts.get(&number) {
                Some(field) => String::from_utf8(field.bytes()?.to_vec()).map_err(|error| error.to_string()),
                None => Err(format!("a label without field {number}")),
            };
            let (name, value) = (text(1)?, text(2)?);
            if name.is_empty() || value.is_empty() || name <= last {
                return Err(format!("label {name:?} = {value:?} is empty, twice or not in order"));
            }
            last.clone_from(&name);
            labels.insert(name, value);
        } else {
            let value = parts.get(&1).map_or(Ok(0.0), Field::double)?;
            let at = parts.get(&2).map_or(Ok(0), Field::integer)?;
            if samples.last().is_some_and(|(_, before)| at <= *before) {
                return Err("samples out of order".to_owned());
            }
            samples.push((value, at));
        }
    }
    Ok(WrittenSeries { labels, samples })
}

#[derive(Clone, Copy)]
enum Field<'a> {
    Integer(u64),
    Double(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err("a number where bytes belong".to_owned()),
        }
    }

    fn double(&self) -> Result<f64, String> {
        match self {
            Self::Double(bits) => Ok(f64::from_bits(*bits)),
            _ => Err("no double".to_owned()),
        }
    }

    fn integer(&self) -> Result<i64, String> {
        match self {
            Self::Integer(value) => Ok(value.cast_signed()),
            _ => Err("no integer".to_owned()),
        }
    }
}

/// The fields of a protobuf message, by number.
fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>, String> {
    let short = || "a message that ends too early".to_owned();
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes).ok_or_else(short)?;
        let field = match tag & 7 {
            0 => Field::Integer(varint(&mut bytes).ok_or_else(short)?),
            1 => {
                let (eight, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
                bytes = rest;
                Field::Double(u64::from_le_bytes(*eight))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes).ok_or_else(short)?).map_err(|_| short())?;
                let (inner, rest) = bytes.split_at_checked(length).ok_or_else(short)?;
                bytes = rest;
                Field::Bytes(inner)
            }
            other => return Err(format!("wire type {other}")),
        };
        found.push((tag >> 3, field));
    }
    Ok(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
