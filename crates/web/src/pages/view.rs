//! What every page is made with: who looks and how, the present moment, and the small things that depend on both. A
//! handler takes a [`View`]; what is rendered for many at once (see [`crate::events`]) makes one with [`View::plain`].

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Html;
use dynowatch_domain::Timestamp;
use dynowatch_domain::notice::group_in_words;
use dynowatch_store::alerts::AlertRow;
use maud::{Markup, html};

use super::look::Look;
use super::shell::{self, Head};
use crate::router::Web;
use crate::show::{ago, masked, visible};
use crate::viewer::Viewer;
use crate::zone::Zone;

/// A look at a page.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) web: Arc<Web>,
    /// Who looks.
    pub(crate) viewer: Viewer,
    pub(crate) look: Look,
    pub(crate) now: Timestamp,
    /// The page's own address with its query, to come back to.
    pub(crate) here: String,
}

impl FromRequestParts<Arc<Web>> for View {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, Self::Rejection> {
        let here = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let viewer = parts.extensions.get::<Viewer>().cloned().unwrap_or_else(Viewer::guest);
        Ok(Self { viewer, look: Look::of(parts), now: web.engine.now(), web: Arc::clone(web), here })
    }
}

impl View {
    /// A look of nobody in particular, in a time zone.
    pub(crate) fn plain(web: &Arc<Web>, zone: Zone) -> Self {
        let look = Look { zone, ..Look::default() };
        Self { web: Arc::clone(web), viewer: Viewer::guest(), look, now: web.engine.now(), here: "/".to_owned() }
    }

    /// A whole page.
    pub(crate) fn page(&self, head: &Head<'_>, content: &Markup) -> Html<String> {
        shell::page(self, head, content)
    }

    /// Text that came from outside: masked, with nothing hidden in it.
    pub(crate) fn outside(&self, text: &str) -> String {
        visible(&masked(&self.web.engine, text))
    }

    /// A moment in the reader's zone.
    pub(crate) fn moment(&self, at: Timestamp) -> Markup {
        html! { time datetime=(at) title=(at.for_people()) { (self.look.zone.full(at)) } }
    }

    /// How long ago a moment was; the moment itself one hover away. Scripts keep it true.
    pub(crate) fn ago(&self, at: Timestamp) -> Markup {
        html! { time datetime=(at) title=(self.look.zone.full(at)) data-ago { (ago(at, self.now)) } }
    }

    /// A moment and how long ago it was.
    pub(crate) fn moment_ago(&self, at: Timestamp) -> Markup {
        html! { (self.moment(at)) " " span.ago { "(" (self.ago(at)) ")" } }
    }

    /// An alert's name for people: the rule, the app, and the group where there is one.
    pub(crate) fn alert_name(&self, row: &AlertRow) -> Markup {
        let group = self.outside(&group_in_words(row.key.group.pairs()));
        html! {
            (visible(&row.key.rule)) " on " (self.outside(&row.app_name))
            @if !group.is_empty() { " " span.group { (group) } }
        }
    }
}
