//! Forms of the console: fields with their hints and what is wrong beside them, and the way from what was typed to an
//! object in the form of the configuration file. What is right is said by the file's reader, never here.

use dynowatch_engine::objects::Problem;
use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::show::visible;

/// What was typed: names and values in the order of the form, a name more than once where several may be chosen.
pub(crate) type Typed = Vec<(String, String)>;

/// How a field is typed and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A line of text.
    Text,
    /// Several texts, one to a line.
    Lines,
    /// Several words, separated by commas.
    Words,
    /// A whole number.
    Number,
    /// One of these; the first is none.
    One(&'static [&'static str]),
    /// None, called so, or one of these.
    OneOr(&'static str, &'static [&'static str]),
    /// A text of several lines.
    Area,
    /// Pairs of names and values, `name: value` on each line.
    Pairs,
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// The key in the object, as in `match.regex`; also the field's name.
    pub(crate) key: &'static str,
    pub(crate) label: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) kind: Kind,
}

/// The value that was typed into a field.
pub(crate) fn typed<'a>(all: &'a Typed, name: &str) -> &'a str {
    all.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.trim())
}

/// The values chosen under a name.
pub(crate) fn chosen<'a>(all: &'a Typed, name: &'a str) -> impl Iterator<Item = &'a str> {
    all.iter().filter(move |(field, value)| field == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// Writes what was typed into an object; a field left empty takes its key away. Keys that no field knows stay.
pub(crate) fn write(body: &mut Value, field: &Field, text: &str) {
    let items = |separator: char| -> Value {
        text.split(separator).map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect()
    };
    let value = match field.kind {
        _ if text.is_empty() => Value::Null,
        Kind::Text | Kind::One(_) | Kind::OneOr(..) | Kind::Area => Value::from(text),
        Kind::Pairs => {
            let pairs = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let pair = |line: &str| {
                // What has no colon is a name without a value: the reader says what is wrong with it.
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name.trim().to_owned(), Value::from(value.trim()))
            };
            Value::Object(pairs.map(pair).collect())
        }
        Kind::Lines => items('\n'),
        Kind::Words => items(','),
        // What is no number is left to the reader to refuse, in its words.
        Kind::Number => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
    };
    put(body, field.key, value);
}

/// Puts a value under a key such as `match.regex`; null takes the key away, and a table that is left empty with it.
pub(crate) fn put(body: &mut Value, key: &str, value: Value) {
    if !body.is_object() {
        *body = Value::Object(Map::new());
    }
    let Value::Object(table) = body else { return };
    match key.split_once('.') {
        Some((outer, inner)) => {
            let place = table.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            put(place, inner, value);
            if place.as_object().is_some_and(Map::is_empty) {
                table.remove(outer);
            }
        }
        None if value.is_null() => {
            table.remove(key);
        }
        None => {
            table.insert(key.to_owned(), value);
        }
    }
}

/// What an object holds under a key, as it is typed.
pub(crate) fn shown(body: &Value, field: &Field) -> String {
    let value = field.key.split('.').try_fold(body, |value, key| value.get(key));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(items)) => {
            let separator = if field.kind == Kind::Lines { "\n" } else { ", " };
            items.iter().map(text).collect::<Vec<_>>().join(separator)
        }
        Some(Value::Object(pairs)) => {
            pairs.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect::<Vec<_>>().join("\n")
        }
        Some(value) => text(value),
    }
}

/// What is wrong at a key, or at an item of its list.
pub(crate) fn problems_at<'a>(problems: &'a [Problem], key: &'a str) -> impl Iterator<Item = &'a Problem> {
    problems.iter().filter(move |problem| {
        problem.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    })
}

/// A field with its label, its hint and what is wrong with it.
pub(crate) fn field(field: &Field, value: &str, problems: &[Problem]) -> Markup {
    let wrong: Vec<&Problem> = problems_at(problems, field.key).collect();
    let id = field.key.replace('.', "-");
    let about = format!("{id}-about");
    let invalid = (!wrong.is_empty()).then_some("true");
    html! {
        div.field {
            label for=(id) { (field.label) }
            @match field.kind {
                Kind::Text | Kind::Words => input type="text" id=(id) name=(field.key) value=(value) aria-describedby=(about) aria-invalid=[invalid] autocomplete="off" spellcheck="false";,
                Kind::Number => input type="text" inputmode="numeric" id=(id) name=(field.key) value=(value) aria-describedby=(about) aria-invalid=[invalid] autocomplete="off";,
                Kind::Lines | Kind::Area | Kind::Pairs => textarea id=(id) name=(field.key) rows="3" aria-describedby=(about) aria-invalid=[invalid] spellcheck="false" { (value) },
                Kind::OneOr(none, choices) => select id=(id) name=(field.key) aria-describedby=(about) aria-invalid=[invalid] {
                    option value="" selected[value.is_empty()] { (none) }
                    @for choice in choices { option value=(choice) selected[*choice == value] { (choice) } }
                },
                Kind::One(choices) => select id=(id) name=(field.key) aria-describedby=(about) aria-invalid=[invalid] {
                    @for choice in choices { option value=(choice) selected[*choice == value] { @if choice.is_empty() { "any" } @else { (choice) } } }
                },
            }
            div id=(about) {
                @for problem in wrong { p.problem { span aria-hidden="true" { "✕" } (visible(&problem.text)) } }
                @if !field.hint.is_empty() { p.hint { (super::parts::prose(field.hint)) } }
            }
        }
    }
}

/// Problems that stand at none of these keys, above the form.
pub(crate) fn other_problems(problems: &[Problem], keys: &[&str]) -> Markup {
    let others: Vec<&Problem> = problems
        .iter()
        .filter(|problem| !keys.iter().any(|key| problems_at(std::slice::from_ref(problem), key).next().is_some()))
        .collect();
    html! {
        @if !problems.is_empty() { p.problem role="alert" { "Nothing was saved: " @if problems.len() == 1 { "one thing is" } @else { (problems.len()) " things are" } " wrong." } }
        @if !others.is_empty() {
            ul.problems { @for problem in others { li { @if !problem.key.is_empty() { code { (visible(&problem.key)) } " " } (visible(&problem.text)) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field_of(key: &'static str, kind: Kind) -> Field {
        Field { key, label: "", hint: "", kind }
    }

    #[test]
    fn what_is_typed_becomes_what_the_file_would_hold() {
        let mut body = json!({ "match": { "text": ["old"] }, "labels": { "team": "x" } });
        for (key, kind, text) in [
            ("match.text", Kind::Lines, "a, b\n\n c "),
            ("match.code", Kind::Words, "H12, H13,"),
            ("requests_min", Kind::Number, "50"),
            ("count", Kind::Text, "> 3"),
            ("window", Kind::Text, ""),
        ] {
            write(&mut body, &field_of(key, kind), text);
        }
        let want = json!({ "match": { "text": ["a, b", "c"], "code": ["H12", "H13"] }, "requests_min": 50, "count": "> 3", "labels": { "team": "x" } });
        assert_eq!(body, want);
        assert_eq!(shown(&body, &field_of("match.text", Kind::Lines)), "a, b\nc");
        assert_eq!(shown(&body, &field_of("requests_min", Kind::Number)), "50");
        write(&mut body, &field_of("match.text", Kind::Lines), "");
        write(&mut body, &field_of("match.code", Kind::Words), "");
        assert_eq!(body.get("match"), None);
        let pairs = field_of("headers", Kind::Pairs);
        write(&mut body, &pairs, "accept: a:b\n\n lonely");
        assert_eq!(body["headers"], json!({ "accept": "a:b", "lonely": "" }));
        assert_eq!(shown(&body, &pairs), "accept: a:b\nlonely: ");
        write(&mut body, &field_of("requests_min", Kind::Number), "many");
        assert_eq!(body["requests_min"], "many");
    }

    #[test]
    fn problems_stand_at_their_fields() {
        let problem = |key: &str| Problem { key: key.into(), text: "<b>".into() };
        let problems = [problem("match.text[1]"), problem("match.textual"), problem("")];
        assert_eq!(problems_at(&problems, "match.text").count(), 1);
        let above = other_problems(&problems, &["match.text"]).into_string();
        assert!(
            above.contains("3 things") && above.contains("match.textual") && above.contains("&lt;b&gt;"),
            "{above}"
        );
        let beside = field(&field_of("match.text", Kind::Lines), "x", &problems).into_string();
        assert!(beside.contains("aria-invalid=\"true\"") && beside.contains("&lt;b&gt;"), "{beside}");
    }
}
