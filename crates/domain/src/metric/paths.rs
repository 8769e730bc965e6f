//! The most frequent request paths in bounded room: the space-saving algorithm. Of the paths that made up a larger share of
//! all requests than one in [`PATHS_MAX`], none is missed, and each count is too high by at most its `over`.

use std::collections::HashMap;

use super::codec::{Bytes, put};

/// Paths kept of one hour.
pub const PATHS_MAX: usize = 50;
/// Paths counted at a time. More than are kept, so that those kept are the true ones.
const COUNTED_MAX: usize = 200;
/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 120;
const VERSION: u8 = 1;

/// How often a path was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hits {
    /// At most this often.
    pub count: u64,
    /// And at least this many fewer.
    pub over: u64,
}

/// The most frequent of many paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopPaths {
    paths: HashMap<Box<str>, Hits>,
}

impl TopPaths {
    /// Counts a path `weight` times.
    pub fn add(&mut self, path: &str, weight: u64) {
        self.merge_one(path, Hits { count: weight, over: 0 });
    }

    fn merge_one(&mut self, path: &str, hits: Hits) {
        if let Some(known) = self.paths.get_mut(path) {
            known.count = known.count.saturating_add(hits.count);
            known.over = known.over.saturating_add(hits.over);
            return;
        }
        let mut before = 0;
        if self.paths.len() >= COUNTED_MAX {
            // The rarest makes room, and its count is what the new one may have had unseen.
            let rarest = self
                .paths
                .iter()
                .min_by_key(|(path, hits)| (hits.count, *path))
                .map(|(path, hits)| (path.clone(), hits.count));
            if let Some((rarest, count)) = rarest {
                self.paths.remove(&rarest);
                before = count;
            }
        }
        let hits = Hits { count: hits.count.saturating_add(before), over: hits.over.saturating_add(before) };
        self.paths.insert(path.into(), hits);
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        // Frequent ones first: the result must not depend on the order of a hash table.
        for (path, hits) in other.sorted() {
            self.merge_one(path, hits);
        }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    fn sorted(&self) -> Vec<(&str, Hits)> {
        let mut all: Vec<(&str, Hits)> = self.paths.iter().map(|(path, hits)| (&**path, *hits)).collect();
        all.sort_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(b.0)));
        all
    }

    /// The most frequent first, at most [`PATHS_MAX`].
    #[must_use]
    pub fn top(&self) -> Vec<(&str, Hits)> {
        let mut all = self.sorted();
        all.truncate(PATHS_MAX);
        all
    }

    /// As bytes, the top ones alone.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for (path, hits) in self.top() {
            put(&mut out, hits.count);
            put(&mut out, hits.over);
            put(&mut out, path.len() as u64);
            out.extend_from_slice(path.as_bytes());
        }
        out
    }

    /// From what [`TopPaths::pack`] made; `None` from anything else.
    #[must_use]
    pub fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut from = Bytes(bytes);
        let mut paths = HashMap::new();
        if from.byte()? != VERSION {
            return None;
        }
        while !from.is_empty() && paths.len() < COUNTED_MAX {
            let hits = Hits { count: from.number()?, over: from.number()? };
            let len = usize::try_from(from.number()?).ok()?;
            let (path, rest) = from.0.split_at_checked(len)?;
            from = Bytes(rest);
            paths.insert(std::str::from_utf8(path).ok()?.into(), hits);
        }
        Some(Self { paths })
    }
}

/// A path as a route: without its query, numbers and ids as `:id`, so that `/orders/7` and `/orders/8` are one. Longer
/// ones are cut; bytes that are no plain text become `_`.
#[must_use]
pub fn route_of(path: &[u8]) -> String {
    let path = path.split(|b| matches!(b, b'?' | b'#' | b';')).next().unwrap_or_default();
    let mut route = String::with_capacity(path.len().min(PATH_BYTES_MAX));
    for segment in path.split(|b| *b == b'/').skip(usize::from(path.first() == Some(&b'/'))) {
        route.push('/');
        if is_id(segment) {
            route.push_str(":id");
        } else {
            match std::str::from_utf8(segment) {
                Ok(text) if segment.iter().all(u8::is_ascii_graphic) => route.push_str(text),
                _ => route.extend(segment.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '_' })),
            }
        }
        if route.len() >= PATH_BYTES_MAX {
            route.truncate(PATH_BYTES_MAX);
            break;
        }
    }
    if route.is_empty() {
        route.push('/');
    }
    route
}

/// Numbers, UUIDs, hashes, e-mail addresses and other text that stands for one thing.
fn is_id(segment: &[u8]) -> bool {
    if segment.len() < 40 && segment.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_')) {
        return false;
    }
    let digits = segment.iter().filter(|b| b.is_ascii_digit()).count();
    let hex = segment.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    (digits > 0 && digits == segment.len())
        || (digits > 0 && segment.len() >= 8 && hex)
        || (digits > 1 && segment.len() >= 16)
        || segment.len() >= 40
        || segment.contains(&b'@')
        || segment.windows(3).any(|w| w.eq_ignore_ascii_case(b"%40"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_one_route() {
        for (path, route) in [
            ("/orders/7?page=2", "/orders/:id"),
            ("/", "/"),
            ("", "/"),
            ("/u/0af31c29-77de-4dd4-9c3e-2b1a55aa0f10/edit", "/u/:id/edit"),
            ("/reset/eyJhbGciOiJIUzI1NiJ9.e30", "/reset/:id"),
            ("/assets/app-3f2a91bc0d.js", "/assets/:id"),
            ("/invite/ada@example.com", "/invite/:id"),
            ("/invite/ada%40example.com", "/invite/:id"),
            ("/a b/\"<", "/a_b/\"<"),
            ("/v2/health", "/v2/health"),
        ] {
            assert_eq!(route_of(path.as_bytes()), route);
        }
        assert!(route_of("/abc".repeat(100).as_bytes()).len() <= PATH_BYTES_MAX);
    }

    proptest! {
        /// No path that is frequent is missed, and every count lies between what is shown and what is sure.
        #[test]
        fn the_frequent_are_found(rare in prop::collection::vec(0_u32..2_000, 0..1_500), often in 0_u64..400, split in any::<bool>()) {
            let (mut a, mut b) = (TopPaths::default(), TopPaths::default());
            let mut exact: HashMap<String, u64> = HashMap::new();
            for (i, path) in rare.iter().enumerate() {
                let path = format!("/rare/{path}x");
                if split && i % 2 == 0 { b.add(&path, 1) } else { a.add(&path, 1) }
                *exact.entry(path).or_default() += 1;
            }
            for _ in 0..often {
                a.add("/often", 1);
            }
            a.merge(&b);
            let total = rare.len() as u64 + often;
            if often > total / 10 && often > 20 {
                prop_assert!(a.top().iter().any(|(path, _)| *path == "/often"));
            }
            for (path, hits) in a.top() {
                let exact = exact.get(path).copied().unwrap_or(often);
                prop_assert!(hits.count - hits.over <= exact, "{path} {hits:?} {exact}");
                if !split {
                    prop_assert!(exact <= hits.count, "{path} {hits:?} {exact}");
                }
            }
            let back = TopPaths::unpack(&a.pack()).unwrap();
            prop_assert_eq!(back.top(), a.top());
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _read = TopPaths::unpack(&[&[VERSION], &bytes[..]].concat());
        }
    }
}
