//! The topics there are, and who renders each. A new one is a variant, its name, and the page's function that renders it
//! as [`partial`]s.

use dynowatch_domain::app_name::is_app_name;
use dynowatch_domain::rule::NAME_BYTES_MAX;
use dynowatch_domain::{AlertId, AppId};
use maud::{Markup, html};

use crate::pages::error::PageError;
use crate::pages::view::View;
use crate::pages::{alert, alerts, app, checks, connect, deliveries, drains, overview};

/// A piece of pages that changes while people look.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// How things stand, on the first page, with this app closer.
    Now(Option<AppId>),
    /// How one app stands.
    App(AppId),
    /// Open alerts, in the list of alerts.
    Alerts,
    /// One alert.
    Alert(AlertId),
    /// All checks.
    Checks,
    /// How the check of that name stands.
    Check(String),
    /// The newest deliveries.
    Deliveries,
    /// What arrived of the app of that name.
    Connect(String),
    /// The log drains of one app.
    Drains(AppId),
}

impl Topic {
    /// The topic of that name; what is none is not listened to.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "now" => Some(Self::Now(None)),
            "alerts" => Some(Self::Alerts),
            "checks" => Some(Self::Checks),
            "deliveries" => Some(Self::Deliveries),
            _ => match name.split_once('.')? {
                ("now", app) => Some(Self::Now(Some(AppId(app.parse().ok()?)))),
                ("app", app) => Some(Self::App(AppId(app.parse().ok()?))),
                ("alert", alert) => Some(Self::Alert(alert.parse().ok()?)),
                ("drains", app) => Some(Self::Drains(AppId(app.parse().ok()?))),
                ("check", name) => is_check_name(name).then(|| Self::Check(name.to_owned())),
                ("connect", app) => is_app_name(app).then(|| Self::Connect(app.to_owned())),
                _ => None,
            },
        }
    }

    /// Its name in addresses and event ids; letters, digits, `.` and `-` only.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Now(None) => "now".to_owned(),
            Self::Now(Some(id)) => format!("now.{id}"),
            Self::App(id) => format!("app.{id}"),
            Self::Alerts => "alerts".to_owned(),
            Self::Alert(id) => format!("alert.{id}"),
            Self::Checks => "checks".to_owned(),
            Self::Check(name) => format!("check.{name}"),
            Self::Deliveries => "deliveries".to_owned(),
            Self::Connect(app) => format!("connect.{app}"),
            Self::Drains(id) => format!("drains.{id}"),
        }
    }

    /// What it shows now, as partials.
    pub(super) async fn render(&self, view: &View) -> Result<String, PageError> {
        let markup = match self {
            Self::Now(app) => overview::live(view, *app).await?,
            Self::App(id) => app::live(view, *id).await?,
            Self::Alerts => alerts::live(view).await?,
            Self::Alert(id) => alert::live(view, *id).await?,
            Self::Checks => checks::live(view).await?,
            Self::Check(name) => checks::one::live(view, name).await?,
            Self::Deliveries => deliveries::live(view).await?,
            Self::Connect(app) => connect::live(view, app).await?,
            Self::Drains(id) => drains::live(view, *id).await?,
        };
        Ok(markup.into_string())
    }
}

/// What a check may be called: nothing that would need to be escaped in an address or in the id of an event.
fn is_check_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// New content for the element of that id: what is the same stays, with the focus and the text typed into it.
pub(crate) fn partial(id: &str, content: &Markup) -> Markup {
    html! { hx-partial hx-target={ "#" (id) } hx-swap="innerMorph" { (content) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let id: AlertId = "019e0178-2a00-7000-8000-0000000000aa".parse().unwrap();
        for topic in [
            Topic::Now(None),
            Topic::Now(Some(AppId(id.0))),
            Topic::App(AppId(id.0)),
            Topic::Alerts,
            Topic::Alert(id),
            Topic::Checks,
            Topic::Check("shop_home.v2-eu".into()),
            Topic::Deliveries,
            Topic::Connect("shop-web".into()),
            Topic::Drains(AppId(id.0)),
        ] {
            assert_eq!(Topic::named(&topic.name()), Some(topic));
        }
        for wrong in ["", "alert.", "alert.x", "<b>", "connect.", "connect.<b>", "check.", "check.a,b", "check.a~b"] {
            assert_eq!(Topic::named(wrong), None, "{wrong}");
        }
    }
}
