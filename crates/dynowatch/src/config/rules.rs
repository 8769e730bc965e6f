//! All rules of an instance: the built-in pack, what the file changes of it, and the file's own. Owns who wins: a rule
//! of the file replaces a built-in one of its name whole, `[rule_pack.rules.NAME]` changes single keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use dynowatch_domain::matcher::Matcher;
use dynowatch_domain::rule::{COOLDOWN_DEFAULT, Origin, RESOLVE_AFTER_DEFAULT, RULES_MAX, Rule};

use super::keys;
use super::names::did_you_mean;
use super::reader::{Node, Table, shortened};
use super::rule::{Context, Draft, fail_at, read_name, read_receivers};

/// The pack as the file leaves it, then the file's own rules in the file's order. Rules that are switched off stay in
/// the list, so that people see what there is.
pub(super) fn read(root: &Table<'_>, context: &Context<'_>, built_in: Vec<Rule>) -> Vec<Rule> {
    let tables = root.tables("rules", keys::RULE);
    if tables.len() + built_in.len() > RULES_MAX {
        root.fail::<()>(
            "rules",
            format!("{} rules are too many: at most {RULES_MAX}, the built-in ones among them", tables.len()),
        );
    }
    let mut lines = BTreeMap::new();
    let mut own: Vec<Rule> = Vec::with_capacity(tables.len());
    for table in &tables {
        let name = read_name(table, &mut lines, "rule");
        let draft = Draft::read(table, context);
        // A rule without a usable name is read to its end all the same: its other errors are news, too.
        if let (Some(mut rule), Some(_)) = (draft.into_rule(name.unwrap_or("unnamed"), context), name) {
            keep_guidance(&mut rule, &built_in);
            own.push(rule);
        }
    }
    let mut rules = Pack::read(root, context, &built_in, &lines).apply(built_in, context, &lines);
    rules.append(&mut own);
    if root.report.errors_len() == 0 {
        compile(root, &tables, &rules);
    }
    rules
}

/// Tries the rules as the engine will use them: all patterns together have limits, too, which no rule knows alone.
fn compile(root: &Table<'_>, tables: &[Table<'_>], rules: &[Rule]) {
    let enabled = rules.iter().filter(|rule| rule.enabled).cloned().map(Arc::new).collect();
    if let Err(error) = Matcher::new(enabled) {
        let named =
            |table: &&Table<'_>| table.get("name").is_some_and(|name| name.text("") == Some(error.rule.as_str()));
        match tables.iter().find(named) {
            Some(table) => fail_at(table, error.key, &error.text),
            None => {
                root.fail::<()>("rule_pack", &error);
            }
        }
    }
}

/// A rule that takes the same lines as the built-in one it replaces means the same, and the same helps.
fn keep_guidance(rule: &mut Rule, built_in: &[Rule]) {
    if let Some(replaced) = built_in.iter().find(|other| other.name == rule.name && other.matches == rule.matches) {
        rule.guidance = replaced.guidance.clone();
    }
}

/// `[rule_pack]`.
struct Pack<'a> {
    enabled: bool,
    disabled: BTreeMap<&'a str, u32>,
    receivers: Option<Vec<String>>,
    changes: Vec<(&'a str, Table<'a>)>,
}

impl<'a> Pack<'a> {
    fn read(root: &Table<'a>, context: &Context<'_>, built_in: &[Rule], own: &BTreeMap<&str, u32>) -> Self {
        let mut pack = Self { enabled: true, disabled: BTreeMap::new(), receivers: None, changes: Vec::new() };
        let Some(table) = root.table("rule_pack", keys::RULE_PACK) else {
            return pack;
        };
        let known: Vec<&str> = built_in.iter().map(|rule| rule.name.as_str()).collect();
        pack.enabled = table.get("enabled").and_then(|node| node.flag()).unwrap_or(true);
        pack.receivers = table.get("receivers").and_then(|node| read_receivers(&node, context.receivers));
        let disable = table.get("disable").and_then(|node| node.list("a list of built-in rules, as in [\"h27\"]"));
        for item in disable.unwrap_or_default() {
            let Some(name) = item.text("the name of a built-in rule") else {
                continue;
            };
            if let Some(name) = built_in_name(&item, name, &known) {
                pack.disabled.insert(name, item.line());
            }
        }
        let changes = table.get("rules").and_then(|node| node.any_table("tables such as [rule_pack.rules.h10]"));
        for (name, node) in changes.map(|table| table.entries()).unwrap_or_default() {
            if let Some(line) = own.get(name) {
                node.fail::<()>(format!(
                    "the rule {name:?} in line {line} replaces the built-in one whole: change it there, and leave this out"
                ));
            } else if built_in_name(&node, name, &known).is_some() {
                let keys: Vec<&str> = keys::RULE.iter().copied().filter(|key| *key != "name").collect();
                let table = node.table(&keys, "a table such as { count = \"> 10\" }");
                pack.changes.extend(table.map(|table| (name, table)));
            }
        }
        pack
    }

    /// The built-in rules that are not replaced, with defaults and changes.
    fn apply(self, built_in: Vec<Rule>, context: &Context<'_>, own: &BTreeMap<&str, u32>) -> Vec<Rule> {
        let mut rules = Vec::with_capacity(built_in.len());
        for mut rule in built_in.into_iter().filter(|rule| !own.contains_key(rule.name.as_str())) {
            let disabled = self.disabled.get(rule.name.as_str());
            rule.origin = Origin::BuiltIn;
            rule.enabled &= self.enabled && disabled.is_none();
            fill_in(&mut rule, context, self.receivers.as_ref());
            let change = self.changes.iter().find(|(name, _)| *name == rule.name);
            let Some((_, table)) = change else {
                rules.push(rule);
                continue;
            };
            if let Some((node, line)) = table.get("enabled").zip(disabled) {
                node.fail::<()>(format!("line {line} disables this rule already: keep one of the two"));
            }
            rules.extend(Draft::read(table, context).over(rule));
        }
        rules
    }
}

/// Defaults for a built-in rule: where it holds the general default, the file's default is meant; where it holds
/// something else, there was a reason. Its severity always has one.
fn fill_in(rule: &mut Rule, context: &Context<'_>, receivers: Option<&Vec<String>>) {
    let defaults = context.defaults;
    if rule.cooldown == COOLDOWN_DEFAULT {
        rule.cooldown = defaults.cooldown.unwrap_or(rule.cooldown);
    }
    if rule.resolve_after == RESOLVE_AFTER_DEFAULT {
        rule.resolve_after = defaults.resolve_after.unwrap_or(rule.resolve_after);
    }
    rule.send_resolved = defaults.send_resolved.unwrap_or(rule.send_resolved);
    rule.receivers.clone_from(receivers.unwrap_or(&defaults.receivers));
}

fn built_in_name<'n>(node: &Node<'_>, name: &'n str, known: &[&str]) -> Option<&'n str> {
    if known.contains(&name) {
        return Some(name);
    }
    node.fail(format!("there is no built-in rule {:?}: {}", shortened(name), did_you_mean(name, known)))
}
