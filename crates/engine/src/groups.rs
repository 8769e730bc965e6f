//! How many groups a rule may have in one app. Owns which are known; what is in them is the evaluation's. `serve` and
//! `replay` ask the same question here.

use std::collections::{HashMap, HashSet};

use dynowatch_domain::AppId;
use dynowatch_domain::key::{Group, Key};

/// The groups of each (app, rule).
#[derive(Debug, Default)]
pub(crate) struct Groups(HashMap<(AppId, String), HashSet<Group>>);

impl Groups {
    /// Knows a key's group from now on.
    pub(crate) fn know(&mut self, key: &Key) {
        if key.group.0.is_empty() {
            return;
        }
        let of = (key.app, key.rule.clone());
        let known = self.0.entry(of).or_default();
        if !known.contains(&key.group) {
            known.insert(key.group.clone());
        }
    }

    /// The key itself, or the rule's "other" group when the app has `max` groups under that rule already. `new` are the
    /// groups that are being made and not known yet.
    ///
    /// # Errors
    /// The key of the "other" group.
    pub(crate) fn admit(&self, key: Key, max: usize, new: &mut Self) -> Result<Key, Key> {
        if key.group.0.is_empty() {
            return Ok(key);
        }
        let of = (key.app, key.rule.clone());
        let known = self.0.get(&of);
        let new = new.0.entry(of).or_default();
        if known.is_some_and(|known| known.contains(&key.group)) || new.contains(&key.group) {
            return Ok(key);
        }
        if known.map_or(0, HashSet::len) + new.len() >= max {
            return Err(Key { group: Group::other(), ..key });
        }
        new.insert(key.group.clone());
        Ok(key)
    }

    /// Forgets a key's group: its place is free for another.
    pub(crate) fn forget(&mut self, key: &Key) {
        let of = (key.app, key.rule.clone());
        if let Some(known) = self.0.get_mut(&of) {
            known.remove(&key.group);
            if known.is_empty() {
                self.0.remove(&of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_of_two_is_another_until_one_is_forgotten() {
        let key = |rule: &str, group: &str| Key {
            app: AppId(uuid::Uuid::from_u128(1)),
            rule: rule.to_owned(),
            group: Group(group.to_owned()),
        };
        let mut groups = Groups::default();
        let mut new = Groups::default();
        groups.know(&key("r14", "dyno=web.1"));
        for (rule, group, admitted) in [
            ("r14", "", true),
            ("r14", "dyno=web.1", true),
            ("r14", "dyno=web.2", true),
            ("r14", "dyno=web.2", true),
            ("r14", "dyno=web.3", false),
            ("r15", "dyno=web.3", true),
        ] {
            let got = groups.admit(key(rule, group), 2, &mut new);
            let want = if admitted { Ok(key(rule, group)) } else { Err(key(rule, "other")) };
            assert_eq!(got, want, "{rule} {group}");
        }
        groups.forget(&key("r14", "dyno=web.1"));
        assert!(groups.admit(key("r14", "dyno=web.3"), 2, &mut new).is_ok());
    }
}
