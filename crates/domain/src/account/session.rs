//! How long a sign-in lasts. Looking goes on for thirty days, so that a phone at night and a screen on a wall need no
//! password; changing something asks for a sign-in of the last twelve hours.

use std::time::Duration;

use crate::Timestamp;

/// Looking lasts this long after the newest sign-in.
pub const READING: Duration = Duration::from_secs(30 * 86_400);
/// Changing lasts this long after the newest sign-in.
pub const FRESH: Duration = Duration::from_secs(12 * 3_600);
/// A link for setting up an instance, for an invitation of someone beside one, or for a new password.
pub const SETUP_LINK: Duration = Duration::from_secs(30 * 60);
/// An invitation: people read their mail the next day.
pub const INVITATION: Duration = Duration::from_secs(3 * 86_400);
/// A question that waits for its answer: the code at a sign-in, the confirmation of a change, the return from another
/// issuer's page.
pub const CHALLENGE: Duration = Duration::from_secs(5 * 60);
/// Wrong answers to one question, after which it is asked no more.
pub const FAILURES_MAX: u32 = 5;

/// Whether a session still lets its holder look.
#[must_use]
pub fn is_alive(signed_in_at: Timestamp, now: Timestamp) -> bool {
    // A clock that went back must not make a session immortal: what lies in the future counts as just begun.
    now.since(signed_in_at) < READING
}

/// Whether it lets its holder change things.
#[must_use]
pub fn is_fresh(signed_in_at: Timestamp, now: Timestamp) -> bool {
    now.since(signed_in_at) < FRESH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_outlasts_changing() {
        let at = Timestamp::from_seconds(1_000_000);
        let hours = |n: u64| at + Duration::from_secs(n * 3_600);
        for (now, alive, fresh) in [
            (at, true, true),
            (hours(12) + Duration::from_secs(0), true, false),
            (at + (FRESH - Duration::from_micros(1)), true, true),
            (hours(29 * 24), true, false),
            (hours(30 * 24), false, false),
        ] {
            assert_eq!((is_alive(at, now), is_fresh(at, now)), (alive, fresh), "{now}");
        }
    }
}
