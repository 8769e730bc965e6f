//! One value of a JSON text by its path, numbers as written. Owns the walk; that the text is JSON at all is judged by
//! serde_json, which would turn numbers into floats if it were asked for values.
//!
//! In doubt nothing is found: a key that stands twice in an object has no value here, since programs differ in which they
//! take.

use serde::de::IgnoredAny;

use super::fact::Value;
use super::outcome::Reason;

/// The most steps of a path.
pub const STEPS_MAX: usize = 32;

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key of an object.
    Key(String),
    /// A place in an array, from 0.
    Index(usize),
}

/// The value at the end of `steps`, or why there is none. `name` is how the check writes the path, as in
/// `body.queue.depth`; it stands in the reason.
#[must_use]
pub fn find(text: &str, steps: &[Step], name: &str) -> Value {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Value::absent(Reason::BodyNotJson, format!("body is not JSON (path {name})"));
    }
    let mut walk = Walk { bytes: text.as_bytes(), at: 0 };
    for (number, step) in steps.iter().enumerate() {
        if let Err(problem) = walk.enter(step) {
            return Value::absent(Reason::PathMissing, format!("{name}: {problem} (step {})", number + 1));
        }
    }
    walk.value().unwrap_or_else(|| Value::absent(Reason::PathMissing, format!("{name}: cannot be read")))
}

/// A place in a text that is known to be JSON. Every read is still bounded by the text.
struct Walk<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Walk<'_> {
    fn peek(&mut self) -> u8 {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Moves to the start of the value that `step` leads to.
    fn enter(&mut self, step: &Step) -> Result<(), String> {
        match (step, self.peek()) {
            (Step::Key(wanted), b'{') => self.enter_key(wanted),
            (Step::Index(wanted), b'[') => self.enter_index(*wanted),
            (Step::Key(wanted), other) => Err(format!("{} where an object with {wanted:?} is needed", kind(other))),
            (Step::Index(wanted), other) => Err(format!("{} where an array with [{wanted}] is needed", kind(other))),
        }
    }

    fn enter_key(&mut self, wanted: &str) -> Result<(), String> {
        let mut found = None;
        self.at += 1;
        while self.peek() == b'"' {
            let key = self.string();
            self.peek();
            self.at += 1;
            self.peek();
            if key.as_deref() == Some(wanted) && found.replace(self.at).is_some() {
                return Err(format!("the key {wanted:?} stands there twice"));
            }
            self.skip();
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at = found.ok_or_else(|| format!("there is no key {wanted:?}"))?;
        Ok(())
    }

    fn enter_index(&mut self, wanted: usize) -> Result<(), String> {
        self.at += 1;
        let mut index = 0;
        while !matches!(self.peek(), b']' | 0) {
            if index == wanted {
                return Ok(());
            }
            self.skip();
            index += 1;
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        Err(format!("there is no [{wanted}]: the array has {index}"))
    }

    /// Reads the string at which we stand and moves behind it.
    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        serde_json::from_slice(self.bytes.get(start..self.at)?).ok()
    }

    /// Moves behind the value at which we stand.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                0 => return,
                b'"' => _ = self.string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                _ => _ = self.word(),
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// A number, `true`, `false` or `null`; moves behind it.
    fn word(&mut self) -> &str {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|byte| !b" \t\n\r,:]}[{\"".contains(byte)) {
            self.at += 1;
        }
        self.bytes.get(start..self.at).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or("")
    }

    fn value(&mut self) -> Option<Value> {
        Some(match self.peek() {
            b'"' => Value::Text(self.string()?),
            b'{' => Value::Object(self.count()),
            b'[' => Value::List(self.count()),
            _ => match self.word() {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                number => Value::Number(number.parse().ok()?),
            },
        })
    }

    /// How many values the object or array has at which we stand.
    fn count(&mut self) -> u64 {
        self.at += 1;
        let mut count = 0;
        while !matches!(self.peek(), b']' | b'}' | 0) {
            if matches!(self.peek(), b',') {
                self.at += 1;
                continue;
            }
            self.skip();
            if self.peek() == b':' {
                self.at += 1;
                self.skip();
            }
            count += 1;
        }
        count
    }
}

fn kind(first: u8) -> &'static str {
    match first {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "a text",
        b't' | b'f' => "true or false",
        b'n' => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn finds_values_as_written() {
        let text = r#" { "a" : [ 1, {"b": 0.10, "c\u0064": "x\"y", "n": null}, [] , true ], "e": {}, "big": 123456789012345678901234567890 } "#;
        for (steps, want) in [
            (vec![key("a"), Step::Index(1), key("b")], "0.10"),
            (vec![key("a"), Step::Index(1), key("cd")], "\"x\\\"y\""),
            (vec![key("a"), Step::Index(1), key("n")], "null"),
            (vec![key("a"), Step::Index(3)], "true"),
            (vec![key("a")], "a list of 4"),
            (vec![key("a"), Step::Index(2)], "a list of 0"),
            (vec![key("a"), Step::Index(1)], "an object of 3"),
            (vec![], "an object of 3"),
            (vec![key("big")], "123456789012345678901234567890"),
        ] {
            assert_eq!(find(text, &steps, "body").to_string(), want, "{steps:?}");
        }
    }

    #[test]
    fn says_why_there_is_none() {
        for (text, steps, want) in [
            ("<html>", vec![key("a")], "body is not JSON (path body.a)"),
            ("", vec![key("a")], "body is not JSON (path body.a)"),
            ("{\"a\":1", vec![key("a")], "body is not JSON (path body.a)"),
            ("{}", vec![key("a")], "body.a: there is no key \"a\" (step 1)"),
            ("{\"a\":1,\"a\":2}", vec![key("a")], "body.a: the key \"a\" stands there twice (step 1)"),
            ("[1]", vec![Step::Index(1)], "body.a: there is no [1]: the array has 1 (step 1)"),
            ("[1]", vec![key("a")], "body.a: an array where an object with \"a\" is needed (step 1)"),
            (
                "{\"a\":3}",
                vec![key("a"), Step::Index(0)],
                "body.a: a number where an array with [0] is needed (step 2)",
            ),
        ] {
            match find(text, &steps, "body.a") {
                Value::Absent { why, .. } => assert_eq!(why, want, "{text}"),
                other => panic!("{text}: {other}"),
            }
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::hash_map(".{0,4}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Every path of a value, with what is there.
    fn paths<'v>(value: &'v serde_json::Value, to: &[Step], out: &mut Vec<(Vec<Step>, &'v serde_json::Value)>) {
        out.push((to.to_vec(), value));
        let children: Vec<(Step, &serde_json::Value)> = match value {
            serde_json::Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| (Step::Index(index), item)).collect()
            }
            serde_json::Value::Object(map) => map.iter().map(|(name, item)| (key(name), item)).collect(),
            _ => Vec::new(),
        };
        for (step, child) in children {
            let mut to = to.to_vec();
            to.push(step);
            paths(child, &to, out);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let mut all = Vec::new();
            paths(&value, &[], &mut all);
            for (steps, want) in all {
                let found = find(&text, &steps, "body");
                let same = match (&found, want) {
                    (Value::Null, serde_json::Value::Null) => true,
                    (Value::Bool(a), serde_json::Value::Bool(b)) => a == b,
                    (Value::Number(a), serde_json::Value::Number(b)) => a.to_string() == b.to_string(),
                    (Value::Text(a), serde_json::Value::String(b)) => a == b,
                    (Value::List(n), serde_json::Value::Array(items)) => *n == items.len() as u64,
                    (Value::Object(n), serde_json::Value::Object(map)) => *n == map.len() as u64,
                    _ => false,
                };
                prop_assert!(same, "{steps:?}: {found} for {want}");
            }
        }

        #[test]
        fn survives_any_text(text in ".{0,60}", index in 0_usize..4) {
            _ = find(&text, &[Step::Index(index), key("a")], "body");
        }
    }
}
