//! A reader of console objects for these tests: small, but of the same contract as the configuration file's.

use std::path::{Path, PathBuf};

use dynowatch_domain::mask::Masker;
use dynowatch_domain::rule::{Condition, MatchSpec, Origin, Rule};
use dynowatch_engine::objects::{Compose, Composed, Objects, Problem};
use dynowatch_notify::{ReceiverKind, ReceiverSpec, Receivers};
use dynowatch_store::objects::ObjectKind;

use crate::site::KNOWN_SECRET;

pub(crate) struct Composer {
    folder: PathBuf,
    rules: Vec<Rule>,
}

impl Composer {
    pub(crate) fn new(folder: &Path, rules: Vec<Rule>) -> Self {
        Self { folder: folder.to_owned(), rules }
    }
}

impl Compose for Composer {
    fn compose(&self, objects: &Objects) -> Result<Composed, String> {
        let mut rules = self.rules.clone();
        for object in &objects.rules {
            let text = object.body["match"]["text"].as_array().map(Vec::as_slice).unwrap_or_default();
            let matches = MatchSpec {
                text: text.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
                ..MatchSpec::default()
            };
            let threshold = object.body["count"].as_str().unwrap_or_default().parse().map_err(|e| format!("{e:?}"))?;
            let window = std::time::Duration::from_secs(300);
            let rule = Rule::new(&object.name, matches, Condition::Count { threshold, window });
            rules.push(Rule { origin: Origin::Store, ..rule });
        }
        let log = |name: &str| ReceiverSpec {
            name: name.to_owned(),
            kind: ReceiverKind::Log { path: Some(self.folder.join("messages.txt")) },
        };
        let specs: Vec<ReceiverSpec> = std::iter::once("operator")
            .chain(objects.receivers.iter().map(|object| object.name.as_str()))
            .map(log)
            .collect();
        Ok(Composed {
            rules,
            receivers: Receivers::build(&specs, &[]).map_err(|error| error.to_string())?,
            masker: Masker::with_values(vec![KNOWN_SECRET.to_owned()]),
            checks: dynowatch_engine::checks::ChecksConfig::default(),
            unusable: Vec::new(),
        })
    }

    fn problems(&self, objects: &Objects, kind: ObjectKind, name: &str) -> Vec<Problem> {
        let body = objects.of(kind).iter().find(|object| object.name == name).map(|object| &object.body);
        let count = body.and_then(|body| body["count"].as_str()).unwrap_or_default();
        if kind == ObjectKind::Rule && count.parse::<dynowatch_domain::parse::CountThreshold>().is_err() {
            return vec![Problem { key: "count".into(), text: format!("{count:?} is no count: write \"> 3\"") }];
        }
        Vec::new()
    }
}
