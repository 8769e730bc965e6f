//! Lines of the log in a page's stream: `/events?…&live=1&app=…` adds events named `lines`. The first stands in the place of
//! what the page was loaded with, unless the page comes back and goes on where it was.

use std::sync::Arc;

use axum::extract::Query;
use axum::http::request::Parts;
use dynowatch_domain::line_filter::LineFilter;
use dynowatch_engine::tail::{Recent, Watch};
use tokio::task::JoinHandle;

use crate::pages::live::{self, Asked, Pen};
use crate::pages::view::View;
use crate::router::Web;
use crate::zone::Zone;

/// The name under which event ids say how far the log was read.
pub(super) const PLACE: &str = "tail";

/// One stream's lines.
pub(super) struct Lines {
    view: View,
    pen: Pen,
    filter: LineFilter,
    /// None: there are too many already, which is said once.
    watch: Option<Watch>,
    begun: bool,
    first: Once<(u64, Recent)>,
}

/// Something that is read once, by a task of its own: whoever waits for it may stop waiting and wait again, and it is
/// neither broken off nor begun anew.
struct Once<T>(Option<JoinHandle<T>>);

impl<T: Send + 'static> Once<T> {
    /// What came of it; `None` when it broke off. Begins it at the first call.
    async fn get(&mut self, begin: impl FnOnce() -> JoinHandle<T>) -> Option<T> {
        let read = self.0.get_or_insert_with(begin).await;
        self.0 = None;
        read.ok()
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if let Some(reading) = &self.0 {
            reading.abort();
        }
    }
}

impl Lines {
    /// The lines that a stream asks for, if it asks for any. `after` is how far the page has read.
    pub(super) fn asked(web: &Arc<Web>, parts: &Parts, zone: &Zone, after: Option<u64>) -> Option<Self> {
        let query = parts.uri.query().unwrap_or_default();
        if !query.split('&').any(|pair| pair == "live=1") {
            return None;
        }
        let Query(asked) = Query::<Asked>::try_from_uri(&parts.uri).ok()?;
        let filter = asked.query().read().ok()?;
        let watch = web.engine.watch(filter.clone(), after);
        let begun = watch.as_ref().is_some_and(Watch::is_resumed);
        let view = View::plain(web, zone.clone());
        Some(Self { pen: Pen::new(view.clone(), &asked), view, filter, watch, begun, first: Once(None) })
    }

    /// The next event, and how far the log is read after it; waits for as long as there is none. May be dropped while it
    /// waits.
    pub(super) async fn next(&mut self) -> (u64, String) {
        let Some(watch) = &mut self.watch else {
            if self.begun {
                return std::future::pending().await;
            }
            self.begun = true;
            return (0, live::refused_json("Too many people watch the log. Load the page again later."));
        };
        if !self.begun {
            // It may take longer than the next beat.
            let begin = || {
                let (view, filter, seq) = (self.view.clone(), self.filter.clone(), watch.seq());
                tokio::spawn(async move { (seq, live::recent(&view, filter).await.unwrap_or_default()) })
            };
            let (seq, recent) = match self.first.get(begin).await {
                Some(read) => read,
                None => (watch.seq(), Recent::default()),
            };
            watch.knows(&recent.lines);
            self.begun = true;
            return (seq, live::recent_json(&self.pen, &recent));
        }
        match watch.next().await {
            Some(batch) => (batch.seq, live::batch_json(&self.pen, &batch)),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::Semaphore;

    use super::*;

    /// Each beat of a stream stops the waiting; what takes longer than a beat must get done all the same.
    #[tokio::test]
    async fn a_slow_reading_is_begun_once() {
        let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let begin = || {
            begun.fetch_add(1, Relaxed);
            let go = Arc::clone(&go);
            tokio::spawn(async move { go.acquire().await.map(|_| 7).unwrap_or(0) })
        };
        let mut once = Once(None);
        for _ in 0..3 {
            tokio::select! {
                biased;
                _ = once.get(begin) => panic!("nobody let it go"),
                () = tokio::task::yield_now() => {}
            }
        }
        go.add_permits(1);
        assert_eq!((once.get(begin).await, begun.load(Relaxed)), (Some(7), 1));
    }
}
