//! Files of every form, whole and in pieces, plain and packed.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// Hands out a few bytes at a time, as pipes do.
struct Slow(io::Cursor<Vec<u8>>, usize);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(self.1);
        self.0.read(&mut buffer[..end])
    }
}

fn read_all(bytes: &[u8], step: usize) -> (Format, Vec<String>, Option<u64>) {
    let mut input = Input::new(Box::new(Slow(io::Cursor::new(bytes.to_vec()), step)), u64::MAX).unwrap();
    let format = input.format();
    let mut seen = Vec::new();
    while let Some(piece) = input.next_piece().unwrap() {
        match piece {
            Piece::Entries(data) => seen.extend(entries(format, data).map(|frame| match frame {
                Frame::Message(message) => String::from_utf8_lossy(message).trim_end().to_owned(),
                Frame::Bad(reason) => format!("!{reason}"),
            })),
            Piece::LeftOut(reason) => seen.push(format!("!{reason}")),
        }
    }
    (format, seen, input.unreadable_from())
}

fn frame(text: &str) -> String {
    let message = format!("<158>1 2026-05-07T08:00:00+00:00 host heroku router - {text}\n");
    format!("{} {message}", message.len())
}

const BARE: &str = "2026-05-07T08:00:00+00:00 app[web.1]: ";

#[test]
fn lines_longer_than_any_frame_are_counted_and_passed_over() {
    let long = "x".repeat(FRAME_BYTES_MAX + 3 * CHUNK_BYTES);
    let text = format!("{BARE}one\n{BARE}{long}\n{BARE}two\n");
    let (_, seen, _) = read_all(text.as_bytes(), 1 << 16);
    assert_eq!(seen, [format!("{BARE}one"), "!oversized".to_owned(), format!("{BARE}two")]);
}

#[test]
fn frames_longer_than_any_are_counted_and_passed_over() {
    let text = format!("{}{}{}", frame("one"), frame(&"x".repeat(FRAME_BYTES_MAX + 3 * CHUNK_BYTES)), frame("two"));
    let (format, seen, lost) = read_all(text.as_bytes(), 1 << 16);
    assert_eq!((format, seen.len(), seen[1].as_str(), lost), (Format::Logplex, 3, "!oversized", None));
    assert!(seen[2].ends_with("two"), "{}", seen[2]);
}

#[test]
fn a_count_that_never_comes_to_its_end_holds_no_memory() {
    let text = format!("{}99999999 <158>1 {}", frame("one"), "x".repeat(FRAME_BYTES_MAX * 2));
    let (_, seen, _) = read_all(text.as_bytes(), 1 << 20);
    assert_eq!(seen[1..], ["!oversized"]);
}

#[test]
fn reading_stops_at_a_broken_count() {
    let one = frame("one");
    let text = format!("{one}hello {}", frame("two").repeat(30_000));
    let (_, seen, lost) = read_all(text.as_bytes(), 1 << 20);
    assert_eq!((seen.len(), seen[1].as_str(), lost), (2, "!bad_count", Some(one.len() as u64)));
}

#[test]
fn gzip_members_in_a_row_are_one_file() {
    let pack = |text: &str| {
        let mut to = GzEncoder::new(Vec::new(), Compression::fast());
        to.write_all(text.as_bytes()).unwrap();
        to.finish().unwrap()
    };
    let bytes = [pack(&format!("{BARE}one\n")), pack(&format!("{BARE}two\n"))].concat();
    let (format, seen, _) = read_all(&bytes, 7);
    assert_eq!((format, seen), (Format::HerokuLogs, vec![format!("{BARE}one"), format!("{BARE}two")]));
}

/// As `heroku logs` paints on a terminal: heads, and what the router says; `script` adds a line and the returns.
#[test]
fn colours_of_a_terminal_are_taken_off() {
    const ROUTER: &str = "2026-05-07T08:00:00+00:00 heroku[router]: ";
    let own = "the app's \u{1b}[31mred\u{1b}[39m";
    let text = format!(
        "Script started on 2026-05-07\r\n\u{1b}[32m{}\u{1b}[39m \u{1b}[2mat=\u{1b}[22m\u{1b}[31merror\u{1b}[39m \u{1b}[2mcode=\u{1b}[22m\u{1b}[1m\u{1b}[31mH12\u{1b}[39m\u{1b}[22m\r\n\u{1b}[36m{}\u{1b}[39m one\r\n{BARE}{own}\n\u{1b}[36m{}\u{1b}[39m last",
        ROUTER.trim_end(),
        BARE.trim_end(),
        BARE.trim_end()
    );
    let want = [
        "Script started on 2026-05-07".to_owned(),
        format!("{ROUTER}at=error code=H12"),
        format!("{BARE}one"),
        format!("{BARE}{own}"),
        format!("{BARE}last"),
    ];
    for step in [1, 7, 1 << 16] {
        let (format, seen, _) = read_all(text.as_bytes(), step);
        assert_eq!((format, seen.as_slice()), (Format::HerokuLogs, want.as_slice()), "{step}");
    }
    // A frame is what Heroku sent: nothing is taken off.
    let painted = frame("\u{1b}[31mred\u{1b}[39m");
    let (format, seen, _) = read_all(painted.as_bytes(), 7);
    assert!(format == Format::Logplex && seen[0].ends_with("\u{1b}[31mred\u{1b}[39m"), "{seen:?}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let (_, seen, _) = read_all(format!("\u{feff}{BARE}one\n").as_bytes(), 100);
    assert_eq!(seen, [format!("{BARE}one")]);
}

#[test]
fn a_gzip_file_that_was_cut_off_is_an_error() {
    let mut to = GzEncoder::new(Vec::new(), Compression::fast());
    to.write_all(BARE.repeat(1_000).as_bytes()).unwrap();
    let mut bytes = to.finish().unwrap();
    bytes.truncate(bytes.len() - 12);
    let mut input = match Input::new(Box::new(io::Cursor::new(bytes)), u64::MAX) {
        Ok(input) => input,
        Err(_) => return,
    };
    let ended = loop {
        match input.next_piece() {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(ended.is_some());
}

/// A small packed file may be a very long one.
#[test]
fn no_more_is_read_than_may_be() {
    let mut to = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..3_000 {
        to.write_all(format!("{BARE}{}\n", "x".repeat(1_000)).as_bytes()).unwrap();
    }
    let packed = to.finish().unwrap();
    for (max, cut) in [(1_u64 << 20, true), (1 << 30, false)] {
        let mut input = Input::new(Box::new(io::Cursor::new(packed.clone())), max).unwrap();
        let mut seen = 0;
        while let Some(piece) = input.next_piece().unwrap() {
            if let Piece::Entries(data) = piece {
                seen += data.len() as u64;
            }
        }
        assert!(seen <= max && input.is_cut() == cut, "{seen} of {max}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the bytes arrive, the same entries come out as from the whole.
    #[test]
    fn pieces_are_the_whole(texts in prop::collection::vec("[ -~]{0,40}", 1..60), step in 1_usize..50, framed: bool) {
        let text: String = texts.iter().map(|text| if framed { frame(text) } else { format!("{BARE}{text}\n") }).collect();
        let (_, seen, lost) = read_all(text.as_bytes(), step);
        prop_assert_eq!((seen.len(), lost), (texts.len(), None));
    }
}
