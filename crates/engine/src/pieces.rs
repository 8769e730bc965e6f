//! Lines that Heroku cut at 10,000 bytes. Each piece is counted as the line of the log that it is; what is looked for is
//! looked for in the whole, once it is there. `serve` puts lines together within a batch, `replay` within ten seconds.

use dynowatch_logplex::rejoin::PIECE_BYTES;
use dynowatch_logplex::{Joined, Message, Now, Rejoiner};

use crate::findings::{Findings, Reading};

/// Lines longer than one piece are put together up to this length, and this many at once.
const JOINED_BYTES_MAX: usize = 128 * 1024;
const JOINED_OPEN_MAX: usize = 16;

/// The pieces at hand. Nothing is allocated until there is one.
#[derive(Default)]
pub(crate) struct Pieces(Option<Rejoiner>);

impl Pieces {
    /// Takes a message, in the order of arrival.
    #[inline]
    pub(crate) fn line(&mut self, findings: &mut Findings, with: &mut Reading<'_>, message: &Message<'_>) {
        if self.0.is_none() && message.text.len() < PIECE_BYTES {
            findings.line(with, message);
        } else {
            self.long_line(findings, with, message);
        }
    }

    fn long_line(&mut self, findings: &mut Findings, with: &mut Reading<'_>, message: &Message<'_>) {
        let rejoiner = self.0.get_or_insert_with(|| Rejoiner::new(JOINED_BYTES_MAX, JOINED_OPEN_MAX));
        let pushed = rejoiner.push(message);
        if let Some(joined) = pushed.given_up {
            findings.joined(with, &whole(&joined));
        }
        match pushed.now {
            Now::Whole => findings.line(with, message),
            Now::Kept => findings.piece(with, message),
            Now::Ended(joined) => {
                findings.piece(with, message);
                findings.joined(with, &whole(&joined));
            }
        }
    }

    /// Whether some line waits for its next piece.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|rejoiner| rejoiner.open() > 0)
    }

    /// Looks at unfinished lines stamped up to then as they are: they get no more pieces.
    pub(crate) fn end(&mut self, findings: &mut Findings, with: &mut Reading<'_>, until_us: i64) {
        while let Some(joined) = self.0.as_mut().and_then(|rejoiner| rejoiner.give_up(until_us)) {
            findings.joined(with, &whole(&joined));
        }
    }
}

fn whole<'a>(joined: &Joined<'a>) -> Message<'a> {
    Message {
        at_us: joined.at_us,
        app_name: joined.app_name,
        proc_id: joined.proc_id,
        drain_token: None,
        pri: None,
        text: joined.text,
        newline: joined.ended,
    }
}
