//! A JSON value inside a longer body, read within a bound of its own: a body with room for a log has room for millions of
//! small values, each of which costs many times its bytes.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What a value may cost: its texts, and so much for each part of it.
const BYTES_MAX: usize = 64 * 1024;
const PART_BYTES: usize = 16;

/// A value of at most 64 KiB.
#[derive(Debug)]
pub(super) struct Bounded(pub(super) Value);

impl<'de> Deserialize<'de> for Bounded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = Cell::new(BYTES_MAX);
        Part(&left).deserialize(deserializer).map(Self)
    }
}

/// Reads one part of the value, with what is left for all.
#[derive(Clone, Copy)]
struct Part<'a>(&'a Cell<usize>);

impl Part<'_> {
    fn spend<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(PART_BYTES.saturating_add(bytes));
        self.0.set(left.ok_or_else(|| E::custom("this value is too long: write at most 64 KiB"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.spend(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut all = Vec::new();
        while let Some(part) = parts.next_element_seed(self)? {
            all.push(part);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut all = Map::new();
        while let Some(name) = parts.next_key::<String>()? {
            self.spend(name.len())?;
            let part = parts.next_value_seed(self)?;
            all.insert(name, part);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_is_what_was_sent() {
        let value = json!({ "a": [1, -2, 0.5, true, null, "x"], "b": { "c": {} } });
        assert_eq!(serde_json::from_str::<Bounded>(&value.to_string()).unwrap().0, value);
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_held() {
        let nested = format!("[{}]", vec!["[]"; 1 << 20].join(","));
        let keys = format!("{{{}}}", (0..8_000).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(","));
        for long in [nested, keys, format!("{:?}", "x".repeat(64 * 1024))] {
            let error = serde_json::from_str::<Bounded>(&long).unwrap_err().to_string();
            assert!(error.contains("at most 64 KiB"), "{error}");
        }
    }
}
