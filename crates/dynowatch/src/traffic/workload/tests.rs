//! The workload against readings of it that share no code with its making.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;

const START: &str = "2026-05-07T23:30:00";

fn write(seed: u64, start: &str) -> (tempfile::TempDir, WorkloadSummary) {
    let dir = tempfile::tempdir().unwrap();
    let args = WorkloadArgs { out: dir.path().to_path_buf(), seed, start: start.to_string(), scale_percent: 10 };
    let summary = write_workload(&args).unwrap();
    (dir, summary)
}

fn expected(dir: &Path, set: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(set).join("expected.json")).unwrap()).unwrap()
}

/// Cuts a body by its octet counts, the plain way.
fn frames(mut body: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let blank = body.iter().position(|&byte| byte == b' ').unwrap();
        let count: usize = std::str::from_utf8(&body[..blank]).unwrap().parse().unwrap();
        frames.push(String::from_utf8(body[blank + 1..blank + 1 + count].to_vec()).unwrap());
        body = &body[blank + 1 + count..];
    }
    frames
}

#[test]
fn same_seed_same_bytes_and_another_seed_others() {
    let (_one, first) = write(1, START);
    let (_two, again) = write(1, START);
    let (_three, other) = write(2, START);
    assert_eq!(first, again);
    for (a, b) in first.sets.iter().zip(&other.sets) {
        assert_ne!(a.bodies_fnv1a64, b.bodies_fnv1a64, "{}", a.name);
    }
    let shape: Vec<_> = first.sets.iter().map(|set| (set.name, set.bodies)).collect();
    assert_eq!(shape, [("b1", 2_000), ("b10", 1_000), ("b100", 300), ("b1000", 20)]);
}

/// The bytes themselves are pinned: a change of the generator changes every published figure's ground.
#[test]
fn the_bytes_of_seed_1_are_pinned() {
    let (_dir, summary) = write(1, START);
    let lines: Vec<String> = summary
        .sets
        .iter()
        .map(|set| format!("{} {} lines, {} bytes, {:016x}", set.name, set.lines, set.body_bytes, set.bodies_fnv1a64))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    b1 2000 lines, 601696 bytes, f1fe7bf61c6bbd4f
    b10 9965 lines, 2987361 bytes, e7e708fc5ed57c89
    b100 30372 lines, 9096175 bytes, 3f1299d45d7baf84
    b1000 19716 lines, 5893618 bytes, 06df2068cc2a0b48
    ");
}

#[test]
fn the_index_and_a_naive_walker_agree() {
    let (dir, summary) = write(1, START);
    for set in &summary.sets {
        let dir = dir.path().join(set.name);
        let bodies = fs::read(dir.join("bodies.bin")).unwrap();
        let mut plain = String::new();
        let mut end = 0;
        for row in fs::read_to_string(dir.join("index.tsv")).unwrap().lines() {
            let field: Vec<&str> = row.split('\t').collect();
            assert_eq!(field.len(), 7);
            let (offset, length): (usize, usize) = (field[0].parse().unwrap(), field[1].parse().unwrap());
            assert_eq!(offset, end, "bodies lie back to back");
            end = offset + length;
            let frames = frames(&bodies[offset..end]);
            assert_eq!(frames.len().to_string(), field[2], "msg_count");
            assert!(field[3].len() == 32 && field[4].starts_with("d."));
            assert_eq!(frames.iter().any(|frame| matches_naively(frame)), field[6] == "1", "{row}");
            for frame in frames {
                let mut word = frame.splitn(7, ' ');
                let (pri, at, host) = (word.next().unwrap(), word.next().unwrap(), word.next().unwrap());
                let (source, process, dash) = (word.next().unwrap(), word.next().unwrap(), word.next().unwrap());
                assert!(pri.starts_with('<') && pri.ends_with(">1") && host == "host" && dash == "-");
                plain.push_str(&format!("{} {source}[{process}]: {}", untrimmed(at), word.next().unwrap()));
            }
        }
        assert_eq!(end, bodies.len());
        assert_eq!(plain, fs::read_to_string(dir.join("lines.log")).unwrap());
    }
}

fn matches_naively(frame: &str) -> bool {
    frame.contains(" heroku router - at=error ")
        || frame.contains(" - Error R14 ")
        || (frame.contains(" host app ") && frame.contains("WORKER TIMEOUT"))
}

/// Six fractional digits again.
fn untrimmed(at: &str) -> String {
    let time = at.strip_suffix("+00:00").unwrap();
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{seconds}.{fraction:0<6}+00:00")
}

#[test]
fn the_oracle_equals_a_naive_recount_of_the_lines() {
    let (dir, summary) = write(1, START);
    for set in &summary.sets {
        let text = fs::read_to_string(dir.path().join(set.name).join("lines.log")).unwrap();
        let (mut count, mut service_ms, mut bytes, mut rss) = (BTreeMap::<String, u64>::new(), 0, 0, 0);
        let mut add = |key: &str, n: u64| *count.entry(key.to_string()).or_default() += n;
        for line in text.lines() {
            let (head, text) = line.split_once("]: ").unwrap();
            let from = head.split_once(' ').unwrap().1;
            add("lines", 1);
            add("substring_code_h12", u64::from(text.contains("code=H12")));
            add("substring_worker_timeout", u64::from(text.contains("WORKER TIMEOUT")));
            if from == "heroku[router" {
                // The decoys sit inside the quoted path, so the last occurrence is the true one.
                let field = |key: &str| text.rsplit_once(&format!(" {key}=")).unwrap().1.split(' ').next().unwrap();
                service_ms += field("service").trim_end_matches("ms").parse::<u64>().unwrap();
                bytes += field("bytes").parse::<u64>().unwrap();
                add(&format!("status {}xx", &field("status")[..1]), 1);
                if let Some(rest) = text.strip_prefix("at=error code=") {
                    add(&format!("code {}", &rest[..3]), 1);
                }
            } else if !from.starts_with("app[web") && !from.starts_with("app[worker") {
                add("samples", text.matches("sample#").count() as u64);
                add("code R14", u64::from(text.starts_with("Error R14 ")));
                if let Some((_, rest)) = text.split_once("sample#memory_rss=") {
                    rss += rest.split("MB").next().unwrap().replace('.', "").parse::<u64>().unwrap();
                }
            } else {
                add("worker_timeout", u64::from(text.contains("[CRITICAL] WORKER TIMEOUT (pid:")));
            }
        }
        let want = expected(dir.path(), set.name);
        let got = |key: &str| count.get(key).copied().unwrap_or(0);
        let check = |value: &Value, got: u64, what: &str| {
            assert_eq!(value.as_u64().unwrap_or(0), got, "{}: {what}", set.name);
        };
        for key in ["lines", "substring_code_h12", "substring_worker_timeout", "samples"] {
            check(&want[key], got(key), key);
        }
        for class in ["2xx", "3xx", "4xx", "5xx"] {
            check(&want["router_status"][class], got(&format!("status {class}")), class);
        }
        for code in ["H12", "H13", "R14"] {
            check(&want["codes"][code], got(&format!("code {code}")), code);
        }
        check(&want["router_service_ms_sum"], service_ms, "service");
        check(&want["router_bytes_sum"], bytes, "bytes");
        check(&want["memory_rss_centi_mb_sum"], rss, "rss");
        check(&want["kinds"]["worker_timeout"], got("worker_timeout"), "worker timeouts");
        sums_per_app_add_up(&want);
    }
}

fn sums_per_app_add_up(want: &Value) {
    let apps = want["apps"].as_object().unwrap();
    let sum = |key: &str| apps.values().map(|app| app[key].as_u64().unwrap()).sum::<u64>();
    for key in ["lines", "samples", "router_service_ms_sum", "router_bytes_sum"] {
        assert_eq!(sum(key), want[key].as_u64().unwrap(), "{key}");
    }
    let tokens = want["lines_per_token"].as_object().unwrap().values().map(|n| n.as_u64().unwrap());
    assert_eq!(tokens.sum::<u64>(), want["lines"].as_u64().unwrap());
}

#[test]
fn the_shares_are_those_of_the_mix() {
    let (dir, _) = write(1, START);
    let want = expected(dir.path(), "b100");
    let lines = want["lines"].as_f64().unwrap();
    let check = |kinds: &[&str], percent: f64| {
        let got = kinds.iter().map(|kind| want["kinds"][kind].as_f64().unwrap()).sum::<f64>() * 100.0 / lines;
        assert!((got - percent).abs() < 0.15 + percent * 0.02, "{kinds:?}: {got} %, want {percent} %");
    };
    check(&["router_info"], 69.98);
    check(&["app"], 15.37);
    check(&["runtime_load", "runtime_memory"], 10.0);
    check(&["postgres", "redis"], 3.0);
    check(&["dyno_state"], 1.0);
    check(&["router_h12", "router_h13", "router_5xx"], 0.5);
    check(&["worker_timeout", "dyno_r14"], 0.1);
    let frame_bytes = want["body_bytes"].as_f64().unwrap() / lines;
    assert!((270.0..340.0).contains(&frame_bytes), "{frame_bytes} bytes a frame");
}

#[test]
fn stamps_go_up_inside_the_timeline_across_midnight() {
    let (dir, summary) = write(1, START);
    let end = "2026-05-08T00:30:00.000000+00:00";
    for set in &summary.sets {
        let text = fs::read_to_string(dir.path().join(set.name).join("lines.log")).unwrap();
        let stamps: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert!(stamps.is_sorted(), "{}", set.name);
        assert!(stamps[0] >= "2026-05-07T23:30:00.000000+00:00" && stamps[stamps.len() - 1] < end);
        assert!(stamps[stamps.len() - 1] > "2026-05-08T00:20:00", "{}: the timeline is filled", set.name);
    }
}

#[test]
fn the_start_moves_stamps_and_nothing_else() {
    let (_dir, here) = write(1, "2026-05-07T08:00:00");
    let (_other, there) = write(1, "2027-01-01T00:00:00");
    for (a, b) in here.sets.iter().zip(&there.sets) {
        assert_eq!((a.bodies, a.lines, a.body_bytes), (b.bodies, b.lines, b.body_bytes));
    }
}

#[test]
fn wrong_arguments_are_named() {
    let args = |start: &str, scale_percent| WorkloadArgs {
        out: PathBuf::from("/nonexistent/never-made"),
        seed: 1,
        start: start.into(),
        scale_percent,
    };
    let check = |args: WorkloadArgs, want: &str| {
        assert_eq!(write_workload(&args).unwrap_err().to_string(), want);
    };
    check(args("today", 100), "start `today`: want YYYY-MM-DDTHH:MM:SS in UTC");
    check(args(START, 0), "scale 0: want a percentage from 1 to 10000");
}
