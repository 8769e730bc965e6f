//! Which requests are looked at for their paths, and the most frequent ones of them between two flushes.

use dynowatch_domain::metric::paths::TopPaths;

/// Of many requests at a time, at least one in so many is looked at for its path, which costs several times what reading
/// the rest of the line does.
pub const PATH_EVERY: u32 = 256;
/// Requests between two flushes that are looked at one by one; then fewer and fewer are.
const PATHS_EACH: u32 = 64;

/// The most frequent paths since the last flush.
#[derive(Default)]
pub(crate) struct Paths {
    pub(crate) all: TopPaths,
    pub(crate) errors: TopPaths,
    pub(super) of_all: Sampler,
    pub(super) of_errors: Sampler,
}

/// Which requests are looked at: all while they are few, one in more and more as they grow many. What is looked at stands
/// for those that are then left out.
#[derive(Default)]
pub(super) struct Sampler {
    seen: u32,
    left_out: u32,
}

impl Sampler {
    /// For how many requests this one stands; `None` when it is left out.
    #[inline]
    pub(super) fn weight(&mut self) -> Option<u64> {
        if self.left_out > 0 {
            self.left_out -= 1;
            return None;
        }
        let weight = (1 + self.seen / PATHS_EACH).min(PATH_EVERY);
        self.seen = self.seen.saturating_add(weight);
        self.left_out = weight - 1;
        Some(u64::from(weight))
    }
}
