//! What was lately done to how somebody signs in: put before them at their next sign-in, and kept on their page, so that a
//! change that was not theirs does not pass unseen. Read from the audit log, which has all of it.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Entry;
use dynowatch_store::audit::AuditFilter;
use dynowatch_store::{Store, StoreError};
use maud::{Markup, html};

use super::form::{escaped, moment, outside};
use crate::router::Web;
use crate::zone::Zone;

/// For how long changes stand on the page.
pub(crate) const SHOWN_FOR: Duration = Duration::from_secs(90 * 86_400);
/// The most that are shown.
const SHOWN_MAX: usize = 20;
/// Actions of the audit log, and what they are to the one they concern.
const ACTIONS: [(&str, &str); 7] = [
    ("user.password", "The password was changed"),
    ("user.password_reset", "A new password was set by a link"),
    ("user.reset", "A link for a new password was made"),
    ("user.authenticator", "The authenticator was removed by someone else"),
    ("authenticator.confirm", "An authenticator was set up, with recovery codes"),
    ("authenticator.codes", "New recovery codes were made; the old ones are no good any more"),
    ("authenticator.remove", "The authenticator was removed"),
];
/// What those begin with: the log is asked by beginnings.
const BEGINNINGS: [&str; 4] = ["user.password", "user.reset", "user.authenticator", "authenticator."];

/// A change, and what it is in words.
pub(crate) type Change = (Entry, &'static str);

/// The changes of someone's ways to sign in after a moment, the newest first.
pub(crate) async fn after(store: &Store, name: &str, since: Timestamp) -> Result<Vec<Change>, StoreError> {
    let mut all = Vec::new();
    for beginning in BEGINNINGS {
        let filter = AuditFilter {
            action: Some(beginning.to_owned()),
            subject: Some(name.to_owned()),
            ..AuditFilter::default()
        };
        let entries = store.audit_entries(&filter, SHOWN_MAX as u32).await?;
        all.extend(entries.into_iter().filter(|entry| entry.at > since).filter_map(|entry| {
            let (_, words) = ACTIONS.into_iter().find(|(action, _)| *action == entry.action)?;
            Some((entry, words))
        }));
    }
    all.sort_by_key(|(entry, _)| std::cmp::Reverse(entry.seq));
    all.truncate(SHOWN_MAX);
    Ok(all)
}

/// Where a sign-in leads: on, or past the notice if something was changed since the last one.
pub(crate) async fn way_in(
    store: &Store,
    name: &str,
    last: Option<Timestamp>,
    next: &str,
) -> Result<String, StoreError> {
    let Some(last) = last else { return Ok(next.to_owned()) };
    let is_news = !after(store, name, last).await?.is_empty();
    Ok(if is_news {
        format!("/settings/security?since={}&next={}", last.as_micros(), escaped(next))
    } else {
        next.to_owned()
    })
}

/// What a person is told at their sign-in: that there is something new since the last one.
pub(crate) fn notice(changes: &[Change], since: Option<Timestamp>, next: &str) -> Markup {
    let new = changes.iter().filter(|(entry, _)| since.is_some_and(|since| entry.at > since)).count();
    html! {
        @if new > 0 {
            div.stale role="status" {
                p {
                    strong { "Since your last sign-in, " @if new == 1 { "one thing was" } @else { (new) " things were" } " changed about how you sign in." }
                    " They stand below under “What was changed lately”. If that was not you, change your password now, end your other sign-ins, and tell a superadmin."
                }
                p { a.button href=(next) { "It was me, go on" } }
            }
        }
    }
}

/// The part of a person's page that keeps them.
pub(crate) fn part(web: &Web, zone: &Zone, changes: &[Change]) -> Markup {
    html! {
        h2 #changes { "What was changed lately" }
        @if changes.is_empty() { p { "Nothing about how you sign in, in 90 days." } } @else {
            table {
                thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "By" } th scope="col" { "From" } } }
                tbody {
                    @for (entry, words) in changes {
                        tr {
                            td data-of="When" { (moment(zone, entry.at)) }
                            td data-of="What" { (words) }
                            td data-of="By" { (outside(web, &entry.actor)) }
                            td data-of="From" { (outside(web, &entry.address)) }
                        }
                    }
                }
            }
        }
    }
}
