//! How long a connection may be silent. A fresh one has to show soon that it is for us. One that was answered is kept for
//! longer than those on the other side keep theirs: whoever closes first makes the other's next delivery fail on a
//! connection that is gone, and Logplex tries three times only. While connections are scarce nobody is waited for that long.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::sync::Semaphore;

/// A first request's head must be there within this time, and later ones while connections are scarce.
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two requests. Logplex hangs up after 144 to 159 s, Caddy after 120 s, Heroku's router after 90 s.
const IDLE_MAX: Duration = Duration::from_secs(180);

/// The clock of one connection, by which hyper waits for the head of the next request for [`HEAD_TIME_MAX`] and what this
/// one adds.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Whether a request on this connection was answered.
    answered: Arc<AtomicBool>,
    /// Places for further connections.
    room: Arc<Semaphore>,
    /// With fewer places than this, connections are scarce.
    scarce_below: usize,
}

impl Patience {
    /// For a connection out of `connections_max`, of which `room` are left; `answered` is for who answers.
    pub(crate) fn new(answered: Arc<AtomicBool>, room: Arc<Semaphore>, connections_max: usize) -> Self {
        Self { answered, room, scarce_below: connections_max.div_ceil(4) }
    }

    fn more(&self) -> Duration {
        if self.answered.load(Relaxed) && self.room.available_permits() >= self.scarce_below {
            IDLE_MAX - HEAD_TIME_MAX
        } else {
            Duration::ZERO
        }
    }
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep(duration + self.more())
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep_until(deadline + self.more())
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        TokioTimer::new().reset(sleep, deadline + self.more());
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_answered_may_be_silent_for_longer_while_there_is_room() {
        for (answered, places, seconds) in
            [(false, 8, 10), (true, 8, 180), (true, 2, 180), (true, 1, 10), (true, 0, 10)]
        {
            let patience = Patience::new(Arc::new(AtomicBool::new(answered)), Arc::new(Semaphore::new(places)), 8);
            let all = HEAD_TIME_MAX + patience.more();
            assert_eq!(all.as_secs(), seconds, "{answered}, {places} places");
        }
    }
}
