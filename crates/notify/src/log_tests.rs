//! What the log receiver writes, and how its file is kept small.

use std::fs;

use super::*;
use crate::samples;

#[test]
fn every_kind_of_message() {
    for (name, outgoing) in samples::all() {
        insta::assert_snapshot!(format!("log_{name}"), render(&outgoing, samples::now()));
    }
}

#[test]
fn a_full_file_is_rotated_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.log");
    let older = folder.path().join("alerts.log.1");
    for (text, now, before) in [
        ("aaaa", "aaaa", None),
        ("bbbb", "aaaabbbb", None),
        ("cccc", "cccc", Some("aaaabbbb")),
        ("d", "ccccd", Some("aaaabbbb")),
        ("eeeeeeeeeeee", "eeeeeeeeeeee", Some("ccccd")),
    ] {
        append(&path, text.as_bytes(), 8).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), now);
        assert_eq!(fs::read_to_string(&older).ok().as_deref(), before);
    }
}

#[test]
fn errors_are_told_apart() {
    let class = |kind: io::ErrorKind| failure("x", &kind.into()).as_str();
    assert_eq!(class(io::ErrorKind::NotFound), "misconfigured");
    assert_eq!(class(io::ErrorKind::PermissionDenied), "misconfigured");
    assert_eq!(class(io::ErrorKind::StorageFull), "retry");
}
