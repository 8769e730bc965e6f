//! Which of many beginnings a path has: one binary search, however many there are.

use super::RuleIndex;

/// Beginnings of paths, sorted, with the rules of each.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    sorted: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    bytes: Vec<u8>,
    rules: Vec<RuleIndex>,
    /// The longest other entry that this one begins with.
    parent: Option<usize>,
}

impl Prefixes {
    pub(super) fn new(mut pairs: Vec<(&[u8], RuleIndex)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut sorted: Vec<Prefix> = Vec::new();
        for (bytes, rule) in pairs {
            match sorted.last_mut() {
                Some(last) if last.bytes == bytes => last.rules.push(rule),
                _ => {
                    // Sorted, whatever this one begins with is the entry before it or one of that entry's parents.
                    let begins = |at: &usize| sorted.get(*at).is_some_and(|p| bytes.starts_with(&p.bytes));
                    let before = sorted.len().checked_sub(1);
                    let parent = std::iter::successors(before, |at| sorted.get(*at)?.parent).find(begins);
                    sorted.push(Prefix { bytes: bytes.to_vec(), rules: vec![rule], parent });
                }
            }
        }
        Self { sorted }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Calls `take` with the rules of every entry that `path` begins with.
    pub(super) fn of(&self, path: &[u8], mut take: impl FnMut(&[RuleIndex])) {
        let before = self.sorted.partition_point(|prefix| prefix.bytes.as_slice() <= path).checked_sub(1);
        for at in std::iter::successors(before, |at| self.sorted.get(*at)?.parent) {
            if let Some(prefix) = self.sorted.get(at).filter(|prefix| path.starts_with(&prefix.bytes)) {
                take(&prefix.rules);
            }
        }
    }
}
