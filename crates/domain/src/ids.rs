//! Identities. One type per kind of thing, so that two ids never swap; all are version 7 UUIDs, so that rows written
//! together lie together. Where the bits come from is the shell's business: see [`NewId`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Makes new ids. The binary draws them at random, tests count.
pub trait NewId {
    /// A UUID never returned before, ordered by `now` (version 7).
    fn new_id(&mut self, now: Timestamp) -> Uuid;
}

macro_rules! id {
    ($(#[$doc:meta] $name:ident)*) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

id! {
    /// A Heroku app, for as long as dynowatch has known it; renaming keeps it.
    AppId
    /// One alert: from the moment it fired to the moment it resolved.
    AlertId
    /// One message to one receiver. Also the idempotency key of every attempt to deliver it.
    DeliveryId
}
