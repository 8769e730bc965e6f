//! The one trait of all channels.

use std::pin::Pin;

use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::{Outcome, Outgoing};

/// One attempt under way.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A way to reach people or programs. Boxed futures, because receivers of all kinds stand in one table.
pub trait Channel: Send + Sync {
    /// The kind's name in the configuration file, metrics and the API.
    fn kind(&self) -> &'static str;

    /// Makes one attempt. `now` dates it: it is part of what a webhook or a log says, and the moment that a
    /// `Retry-After` with a date counts from. No time limit here: [`Receivers::deliver`](crate::Receivers::deliver)
    /// sets one around every channel alike.
    fn deliver<'a>(&'a self, outgoing: &'a Outgoing, now: Timestamp) -> Attempt<'a>;
}
