//! Runs the fuzz targets over the committed corpus and over random bytes, on the stable compiler.

use dynowatch_logplex::fuzz;
use proptest::prelude::*;
use std::path::Path;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 4] =
    [("body", fuzz::body), ("line", fuzz::line), ("router", fuzz::router), ("samples", fuzz::samples)];

#[test]
fn the_committed_corpus_holds() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 5, "{name} has a corpus");
        for file in files {
            let data = std::fs::read(&file).unwrap();
            target(&data);
            // Every cut of a good input is an odd one.
            for end in (0..data.len()).step_by(1 + data.len() / 200) {
                target(&data[..end]);
            }
        }
    }
}

/// Bytes that resemble the formats enough to get past the first comparison.
fn lumps() -> impl Strategy<Value = Vec<u8>> {
    let words: &[&str] = &[
        "64 ",
        "142 ",
        "0 ",
        "9",
        "<190>1 ",
        "<158>1 ",
        "2025-03-04T10:00:00.123456+00:00 ",
        "2025-03-04T10:00:00Z ",
        "host ",
        "heroku ",
        "app ",
        "router ",
        "web.1 ",
        "run.1 ",
        "api ",
        "logplex ",
        "heroku-postgres ",
        "postgres.1 ",
        "- ",
        "heroku[router]: ",
        "app[web.1]: ",
        "at=info ",
        "at=error ",
        "code=H12 ",
        "desc=\"x\" ",
        "method=GET ",
        "path=\"/",
        "\" ",
        "host=h ",
        "request_id=1 ",
        "fwd=\"1.1.1.1\" ",
        "fwd=\"",
        "dyno=web.1 ",
        "connect=1ms ",
        "service=",
        "30000ms ",
        "status=503 ",
        "bytes=0 ",
        "protocol=https ",
        "tls=true ",
        "tls_version=tls1.3",
        "source=web.1 ",
        "addon=a ",
        "sample#a=",
        "1.25",
        "MB ",
        "kB ",
        "e5 ",
        "Error R14 (Memory quota exceeded)",
        "Error L10 (x): 7 messages dropped since ",
        "[RED] [1-1]  ",
        "sql_error_code = 55P03 ",
        "ERROR:  ",
        "Release v42 created by user x",
        "Set A config vars",
        "Scaled to web@1:x ",
        "[2025-03-04 10:00:00 +0000] [2] [CRITICAL] WORKER TIMEOUT (pid:1)",
        "\n",
        "\r\n",
        "=",
        "\"",
        " ",
        "\u{0}",
        "é",
    ];
    let word = prop::sample::select(words.to_vec()).prop_map(|w| w.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..6);
    prop::collection::vec(prop_oneof![9 => word, 1 => noise], 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_bytes_break_a_target(data in prop_oneof![lumps(), prop::collection::vec(any::<u8>(), 0..300)]) {
        for (_, target) in TARGETS {
            target(&data);
        }
    }
}
