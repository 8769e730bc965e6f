//! Objects of the console beside the configuration file: written as further `[[rules]]`, `[[receivers]]`,
//! `[[checks]]` and `[[maintenance]]` behind its
//! text, and read as one configuration. So an object means exactly what the same words mean in the file, defaults and
//! limits included, and its errors are the file's errors. Names of the file win.

use std::fmt;
use std::sync::Arc;

use dynowatch_domain::rule::{Origin, Rule};
use dynowatch_engine::objects::{Compose, Composed, Objects, Problem};
use dynowatch_notify::Receivers;
use dynowatch_store::objects::{Object, ObjectKind};

use crate::config::{self, Config, ConfigErrors, Env, Source};
use crate::server::masker;

/// Reads objects beside one file.
pub(crate) struct Composer {
    source: Source,
    /// Tables of the file, before which no object's index lies.
    file_rules: usize,
    file_receivers: usize,
    file_checks: usize,
    file_windows: usize,
    /// For commands that send nothing: secrets may be missing, and receivers are not made.
    offline: bool,
}

impl Composer {
    pub(crate) fn new(config: &Config, offline: bool) -> Arc<Self> {
        Arc::new(Self {
            source: config.source.clone(),
            file_rules: config.rules.iter().filter(|rule| rule.origin == Origin::File).count(),
            file_receivers: config.receivers.len(),
            file_checks: config.checks.checks.len(),
            file_windows: config.checks.windows.len(),
            offline,
        })
    }

    fn read(&self, objects: &Objects) -> Result<Config, ConfigErrors> {
        let text = format!("{}\n{}", self.source.text, written(objects));
        let (name, env): (&str, &dyn Env) = (&self.source.name, &*self.source.env);
        if self.offline { config::parse_offline(name, &text, env) } else { config::parse(name, &text, env) }
    }

    /// The whole configuration: the file's, and what can be used of the objects.
    ///
    /// # Errors
    /// When even the file alone cannot be used.
    pub(crate) fn whole(&self, objects: &Objects) -> Result<Config, String> {
        if let Ok(mut config) = self.read(objects) {
            mark(&mut config.rules, objects);
            return Ok(config);
        }
        let (good, _unusable) = self.one_by_one(objects);
        let mut config = self.read(&good).map_err(|errors| errors.to_string())?;
        mark(&mut config.rules, &good);
        Ok(config)
    }

    fn composed(&self, config: Config, objects: &Objects) -> Result<Composed, String> {
        let mut rules = config.rules.clone();
        mark(&mut rules, objects);
        let specs = if self.offline { &[][..] } else { &config.receivers };
        let receivers = Receivers::build(specs, &config.known_secrets).map_err(|error| error.to_string())?;
        let checks = config.checks.for_engine();
        Ok(Composed { rules, receivers, masker: masker(&config), checks, unusable: Vec::new() })
    }

    /// Adds one object after the other and leaves out those that cannot be used. For when all together are refused.
    fn one_by_one(&self, objects: &Objects) -> (Objects, Vec<(ObjectKind, String, String)>) {
        let (mut good, mut unusable) = (Objects::default(), Vec::new());
        // Receivers first: rules name them.
        for kind in [ObjectKind::Receiver, ObjectKind::Rule, ObjectKind::Check, ObjectKind::Maintenance] {
            for object in objects.of(kind) {
                let tried = good.clone().with(kind, &object.name, &object.body);
                match self.read(&tried) {
                    Ok(_) => good = tried,
                    Err(errors) => unusable.push((kind, object.name.clone(), self.first(&errors, &tried, kind))),
                }
            }
        }
        (good, unusable)
    }

    fn first(&self, errors: &ConfigErrors, objects: &Objects, kind: ObjectKind) -> String {
        let name = objects.of(kind).last().map(|object| object.name.as_str()).unwrap_or_default();
        let own = self.at_keys(errors, objects, kind, name);
        own.first().map_or_else(String::new, |problem| match problem.key.as_str() {
            "" => problem.text.clone(),
            key => format!("{key}: {}", problem.text),
        })
    }

    /// Errors at the keys of one object; what is wrong elsewhere concerns it as a whole.
    fn at_keys(&self, errors: &ConfigErrors, objects: &Objects, kind: ObjectKind, name: &str) -> Vec<Problem> {
        let (list, before) = match kind {
            ObjectKind::Rule => ("rules", self.file_rules),
            ObjectKind::Receiver => ("receivers", self.file_receivers),
            ObjectKind::Check => ("checks", self.file_checks),
            ObjectKind::Maintenance => ("maintenance", self.file_windows),
        };
        let at = objects.of(kind).iter().position(|object| object.name == name).unwrap_or_default();
        let prefix = format!("{list}[{}]", before + at);
        let of = |error: &config::ConfigError| match error.key.strip_prefix(&prefix) {
            Some(rest) => Problem { key: rest.trim_start_matches('.').to_owned(), text: error.problem.clone() },
            None if error.key.is_empty() => Problem { key: String::new(), text: error.problem.clone() },
            None => Problem { key: String::new(), text: format!("{}: {}", error.key, error.problem) },
        };
        errors.all().iter().map(of).collect()
    }
}

impl Compose for Composer {
    fn compose(&self, objects: &Objects) -> Result<Composed, String> {
        if let Ok(config) = self.read(objects) {
            return self.composed(config, objects);
        }
        let (good, unusable) = self.one_by_one(objects);
        let config = self.read(&good).map_err(|errors| errors.to_string())?;
        Ok(Composed { unusable, ..self.composed(config, &good)? })
    }

    fn problems(&self, objects: &Objects, kind: ObjectKind, name: &str) -> Vec<Problem> {
        // Others that cannot be used are not this one's fault.
        let mut others = objects.clone();
        match kind {
            ObjectKind::Rule => others.rules.retain(|object| object.name != name),
            ObjectKind::Receiver => others.receivers.retain(|object| object.name != name),
            ObjectKind::Check => others.checks.retain(|object| object.name != name),
            ObjectKind::Maintenance => others.windows.retain(|object| object.name != name),
        }
        let others = if self.read(&others).is_ok() { others } else { self.one_by_one(&others).0 };
        let Some(object) = objects.of(kind).iter().find(|object| object.name == name) else { return Vec::new() };
        let tried = others.with(kind, name, &object.body);
        match self.read(&tried) {
            Ok(_) => Vec::new(),
            Err(errors) => self.at_keys(&errors, &tried, kind, name),
        }
    }
}

impl fmt::Debug for Composer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composer").field("file", &self.source.name).finish_non_exhaustive()
    }
}

/// Says of the rules that are objects where they come from.
fn mark(rules: &mut [Rule], objects: &Objects) {
    for rule in rules {
        if objects.rules.iter().any(|object| object.name == rule.name) {
            rule.origin = Origin::Store;
        }
    }
}

/// The objects as the end of a configuration file.
fn written(objects: &Objects) -> String {
    let mut root = toml::Table::new();
    for (list, objects) in [
        ("receivers", &objects.receivers),
        ("rules", &objects.rules),
        ("checks", &objects.checks),
        ("maintenance", &objects.windows),
    ] {
        if !objects.is_empty() {
            root.insert(list.to_owned(), toml::Value::Array(objects.iter().map(table).collect()));
        }
    }
    // What JSON can say, TOML can, but for null, which `table` leaves out.
    toml::to_string(&root).unwrap_or_default()
}

fn table(object: &Object) -> toml::Value {
    let mut table = match value(&object.body) {
        Some(toml::Value::Table(table)) => table,
        _ => toml::Table::new(),
    };
    table.insert("name".to_owned(), toml::Value::String(object.name.clone()));
    toml::Value::Table(table)
}

fn value(json: &serde_json::Value) -> Option<toml::Value> {
    use serde_json::Value as Json;
    Some(match json {
        Json::Null => return None,
        Json::Bool(flag) => toml::Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => toml::Value::Integer(whole),
            None => toml::Value::Float(number.as_f64()?),
        },
        Json::String(text) => toml::Value::String(text.clone()),
        Json::Array(items) => toml::Value::Array(items.iter().filter_map(value).collect()),
        Json::Object(entries) => {
            toml::Value::Table(entries.iter().filter_map(|(key, json)| Some((key.clone(), value(json)?))).collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::MapEnv;

    const FILE: &str = "[defaults]\nreceivers = [\"log\"]\ncooldown = \"7m\"\n[[receivers]]\nname = \"log\"\nlog = {}\n\
                        [[rules]]\nname = \"mine\"\nmatch = { text = \"x\" }\ncount = \"> 1\"\nwindow = \"5m\"\n";

    fn composer() -> Arc<Composer> {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let env = MapEnv::from([("HOOK", "https://hook.example/secret-part")]);
        Composer::new(&config::parse("dynowatch.toml", FILE, &env).unwrap(), false)
    }

    fn slow() -> Value {
        json!({ "match": { "text": ["slow \"query\"\n[[rules]]"] }, "count": "> 3", "window": "5m", "receivers": ["hook"] })
    }

    fn hook() -> Value {
        json!({ "webhook": { "url_env": "HOOK" } })
    }

    #[test]
    fn objects_mean_what_the_file_means() {
        let objects =
            Objects::default().with(ObjectKind::Rule, "slow", &slow()).with(ObjectKind::Receiver, "hook", &hook());
        let composed = composer().compose(&objects).unwrap();
        assert_eq!(composed.unusable, []);
        let rule = composed.rules.iter().find(|rule| rule.name == "slow").unwrap();
        assert_eq!(
            (rule.origin, rule.cooldown.as_secs(), rule.receivers.as_slice()),
            (Origin::Store, 420, ["hook".to_owned()].as_slice())
        );
        assert_eq!(rule.matches.text, ["slow \"query\"\n[[rules]]"]);
        assert_eq!(composed.receivers.names().collect::<Vec<_>>(), ["hook", "log"]);
        let mine = composed.rules.iter().find(|rule| rule.name == "mine").unwrap();
        assert_eq!(mine.origin, Origin::File);
    }

    /// One that cannot be used (any more) takes nothing else with it.
    #[test]
    fn what_cannot_be_used_is_left_out_and_named() {
        let objects = Objects::default()
            .with(ObjectKind::Rule, "slow", &slow())
            .with(ObjectKind::Rule, "fine", &json!({ "match": { "code": "H12" }, "count": "> 3", "window": "5m" }))
            .with(ObjectKind::Rule, "mine", &slow());
        let composed = composer().compose(&objects).unwrap();
        let names: Vec<&str> = composed.unusable.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, ["slow", "mine"]);
        assert!(composed.unusable[0].2.contains("there is no receiver \"hook\""), "{:?}", composed.unusable);
        assert!(composed.rules.iter().any(|rule| rule.name == "fine" && rule.origin == Origin::Store));
    }

    /// A check of the console has the keys of its table, and may lean on one of the file.
    #[test]
    fn checks_and_windows_are_read_like_those_of_the_file() {
        let file = format!(
            "{FILE}[[checks]]\nname = \"shop\"\nkind = \"web\"\nurl = \"https://shop.example\"\n\
             [[maintenance]]\nname = \"night\"\nall = true\ncron = \"0 4 * * *\"\nfor = \"10m\"\n"
        );
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let env = MapEnv::from([("CACHE_URL", "redis://:hunter2@cache.example")]);
        let composer = Composer::new(&config::parse("dynowatch.toml", &file, &env).unwrap(), true);
        let cache = json!({
            "kind": "redis", "url_env": "CACHE_URL", "key": "q", "assert": ["length < 5"], "parent": "shop", "flapping": false,
            "timeout": null,
        });
        let window = json!({ "checks": ["cache"], "weekly": ["sat"], "at": "23:30", "for": "2h" });
        let good = Objects::default().with(ObjectKind::Check, "cache", &cache).with(
            ObjectKind::Maintenance,
            "weekend",
            &window,
        );
        let composed = composer.compose(&good).unwrap();
        assert_eq!(composed.unusable, []);
        let names: Vec<&str> = composed.checks.checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!((names, composed.checks.windows.len()), (vec!["shop", "cache"], 2));
        assert_eq!(composed.checks.checks[1].receivers, ["log"]);
        assert_eq!(composed.masker.mask("pass hunter2"), "pass [masked]");

        let problems = |kind, name: &str, body: Value| {
            let objects = good.clone().with(kind, name, &body);
            let problems = composer.problems(&objects, kind, name);
            problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.text)).collect::<Vec<_>>()
        };
        let mut wrong = cache.clone();
        wrong["assert"] = json!(["length <"]);
        wrong["parent"] = json!("shp");
        wrong["url"] = json!("redis://:hunter2@cache.example");
        let found = problems(ObjectKind::Check, "cache", wrong).join("\n");
        assert!(found.contains("assert[0]: assertion \"length <\", column 9"), "{found}");
        assert!(
            found.contains("parent: there is no check \"shp\"") && found.contains("url_env: `url` stands"),
            "{found}"
        );
        assert!(!found.contains("hunter2"), "{found}");
        assert_eq!(
            problems(ObjectKind::Maintenance, "night", window.clone()),
            ["name: \"night\" is the name of the window in line 17 already: give each its own"]
        );
        assert_eq!(problems(ObjectKind::Maintenance, "weekend", window), Vec::<String>::new());

        // One that cannot be used takes neither its siblings nor the file's with it.
        let gone =
            good.with(ObjectKind::Check, "orphan", &json!({ "kind": "tcp", "host": "x", "port": 1, "parent": "?" }));
        let composed = composer.compose(&gone).unwrap();
        assert_eq!(composed.checks.checks.len(), 2);
        assert_eq!((composed.unusable[0].0, composed.unusable[0].1.as_str()), (ObjectKind::Check, "orphan"));
    }

    #[test]
    fn problems_stand_at_their_keys() {
        let rule = |body: Value| {
            let objects = Objects::default().with(ObjectKind::Rule, "new", &body);
            let problems = composer().problems(&objects, ObjectKind::Rule, "new");
            problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.text)).collect::<Vec<_>>()
        };
        let good = json!({ "match": { "code": "H12" }, "count": "> 3", "window": "5m" });
        assert_eq!(rule(good.clone()), Vec::<String>::new());
        let with = |key: &str, value: Value| {
            let mut body = good.clone();
            body[key] = value;
            rule(body)
        };
        insta::assert_snapshot!(
            [
                with("count", json!("three")),
                with("window", json!("soon")),
                with("match", json!({ "regex": "(" })),
                with("match", json!({ "code": "h12" })),
                with("severity", json!("urgent")),
                with("receivers", json!(["nobody"])),
                with("nonsense", json!(1)),
                rule(json!({})),
            ]
            .concat()
            .join("\n")
        );
        let taken = Objects::default().with(ObjectKind::Rule, "mine", &good);
        assert!(composer().problems(&taken, ObjectKind::Rule, "mine")[0].text.contains("already"));
    }
}
