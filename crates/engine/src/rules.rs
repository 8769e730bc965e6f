//! The rules in force: compiled once per configuration, swapped whole, read without a lock. Owns which rules are switched
//! off at the moment; what a rule means is `domain`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dynowatch_domain::matcher::{Matcher, MatcherError};
use dynowatch_domain::rule::Rule;

/// One immutable set of rules and what follows from it.
pub struct RuleBook {
    /// Enabled rules, compiled.
    pub matcher: Matcher,
    /// Every rule by name, disabled ones too.
    all: BTreeMap<String, Arc<Rule>>,
    /// Names that an operator has switched off for a while.
    quieted: BTreeSet<String>,
}

impl RuleBook {
    /// Compiles `rules`, leaving out those that are disabled or `quieted`.
    ///
    /// # Errors
    /// When a pattern cannot be compiled; the error names its rule.
    pub fn new(rules: impl IntoIterator<Item = Arc<Rule>>, quieted: BTreeSet<String>) -> Result<Self, MatcherError> {
        let all: BTreeMap<String, Arc<Rule>> = rules.into_iter().map(|rule| (rule.name.clone(), rule)).collect();
        let enabled = all.values().filter(|rule| rule.enabled && !quieted.contains(&rule.name)).cloned().collect();
        Ok(Self { matcher: Matcher::new(enabled)?, all, quieted })
    }

    /// The same rules with other ones switched off.
    ///
    /// # Errors
    /// As for [`RuleBook::new`].
    pub fn quiet(&self, quieted: BTreeSet<String>) -> Result<Self, MatcherError> {
        Self::new(self.all.values().cloned(), quieted)
    }

    /// The rule of that name if it is in force.
    #[must_use]
    pub fn active(&self, name: &str) -> Option<&Arc<Rule>> {
        self.all.get(name).filter(|rule| rule.enabled && !self.quieted.contains(name))
    }

    /// The rule of that name, in force or not.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.all.get(name)
    }

    /// Every rule, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.all.values()
    }

    /// Names that an operator has switched off for a while.
    #[must_use]
    pub fn quieted(&self) -> &BTreeSet<String> {
        &self.quieted
    }
}
