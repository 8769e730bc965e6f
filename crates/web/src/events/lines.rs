//! Lines of the log in a page's stream: `/events?…&live=1&app=…` adds events named `lines`. The first stands in the place of
//! what the page was loaded with, unless the page comes back and goes on where it was.

use std::sync::Arc;

use axum::extract::Query;
use axum::http::request::Parts;
use dynowatch_domain::line_filter::LineFilter;
use dynowatch_engine::tail::Watch;

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
        Some(Self { pen: Pen::new(view.clone(), &asked), view, filter, watch, begun })
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
            let seq = watch.seq();
            let recent = live::recent(&self.view, self.filter.clone()).await.unwrap_or_default();
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
