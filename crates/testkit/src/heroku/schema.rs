//! Heroku's own schema, against which every request and answer is held. Of an answer every documented field must be
//! there and have its type; fields that the live API adds, nulls and new enum values are tolerated. Of a request nothing
//! undocumented is.

use std::collections::HashMap;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::Asked;

/// The compiled schema of each call.
pub(super) struct Schema {
    calls: HashMap<String, Call>,
}

struct Call {
    request: Option<Validator>,
    answer: Validator,
}

impl Schema {
    pub(super) fn load() -> Self {
        let text = include_str!("../../data/heroku-schema.json");
        let document: Value = serde_json::from_str(text).expect("the schema is JSON");
        let definitions = &document["definitions"];
        let calls = document["links"].as_object().expect("the calls of the schema");
        let calls = calls.iter().map(|(line, call)| {
            let request = call.get("schema").map(|schema| compile(schema, definitions, strict));
            (line.clone(), Call { request, answer: compile(&call["targetSchema"], definitions, tolerant) })
        });
        Self { calls: calls.collect() }
    }

    pub(super) fn check_request(&self, asked: &Asked) -> Vec<String> {
        let Some(call) = self.call(asked) else { return vec![format!("{}: no such call in the schema", asked.line())] };
        match &call.request {
            Some(validator) => errors(asked, "request", validator, &asked.body),
            None if asked.body.is_null() => Vec::new(),
            None => vec![format!("{}: a body where the schema knows none", asked.line())],
        }
    }

    pub(super) fn check_answer(&self, asked: &Asked, body: &Value) -> Vec<String> {
        self.call(asked).map(|call| errors(asked, "answer", &call.answer, body)).unwrap_or_default()
    }

    fn call(&self, asked: &Asked) -> Option<&Call> {
        // In these paths every second part names one thing: `/apps/{}/log-drains/{}`.
        let parts = asked.path.trim_matches('/').split('/').enumerate();
        let account = asked.path.starts_with("/account");
        let shape: Vec<&str> = parts.map(|(i, part)| if i % 2 == 1 && !account { "{}" } else { part }).collect();
        self.calls.get(&format!("{} /{}", asked.method, shape.join("/")))
    }
}

fn errors(asked: &Asked, what: &str, validator: &Validator, value: &Value) -> Vec<String> {
    let one = |error: jsonschema::ValidationError<'_>| {
        format!("{} {what} at {}: {error}", asked.line(), error.instance_path())
    };
    validator.iter_errors(value).map(one).collect()
}

fn compile(schema: &Value, definitions: &Value, adapt: fn(&mut Map<String, Value>)) -> Validator {
    let mut root = json!({ "definitions": definitions });
    for (key, value) in schema.as_object().expect("a schema is an object") {
        root[key] = value.clone();
    }
    walk(&mut root, adapt);
    jsonschema::options()
        .with_draft(Draft::Draft4)
        .should_validate_formats(true)
        .build(&root)
        .expect("Heroku's schema compiles")
}

/// Adapts every schema within.
fn walk(value: &mut Value, adapt: fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(schema) => {
            if !schema.contains_key("$ref") {
                adapt(schema);
            }
            schema.values_mut().for_each(|inner| walk(inner, adapt));
        }
        Value::Array(all) => all.iter_mut().for_each(|inner| walk(inner, adapt)),
        _ => {}
    }
}

/// Every documented field is required; `null` is a value of every type; enums are advice.
fn tolerant(schema: &mut Map<String, Value>) {
    if schema.remove("strictProperties") == Some(Value::Bool(true))
        && let Some(properties) = schema.get("properties").and_then(Value::as_object)
    {
        let names: Vec<&String> = properties.keys().collect();
        let required = json!(names);
        schema.insert("required".to_owned(), required);
    }
    // A field may be named `type` or `enum`: only keywords have these forms.
    if schema.get("enum").is_some_and(Value::is_array) {
        schema.remove("enum");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type")
        && !types.contains(&json!("null"))
    {
        types.push(json!("null"));
    }
}

/// Nothing undocumented is sent.
fn strict(schema: &mut Map<String, Value>) {
    if schema.get("properties").is_some_and(Value::is_object) && schema.get("type").is_some_and(Value::is_array) {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}
