//! The body and the signature, as docs/webhook.md promises them.

use super::*;
use crate::samples;

#[test]
fn every_kind_of_message() {
    for (name, outgoing) in samples::all() {
        let body: serde_json::Value = serde_json::from_str(&body(&outgoing, samples::now()).unwrap()).unwrap();
        insta::assert_json_snapshot!(format!("webhook_{name}"), body);
    }
}

#[test]
fn signs_like_rfc_4231() {
    // Test case 2.
    assert_eq!(
        signature(&SecretString::from("Jefe"), b"what do ya want for nothing?"),
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn the_worked_example_of_the_page_is_true() {
    let page = include_str!("../../../docs/webhook.md");
    let body = body(&samples::outgoing(samples::notice()), samples::now()).unwrap();
    let pretty: serde_json::Value = serde_json::from_str(&body).unwrap();
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(shown).unwrap(), pretty, "the example body");
    let small = br#"{"version":1,"kind":"test"}"#;
    let signed = signature(&SecretString::from("correct horse battery staple"), small);
    assert!(page.contains(std::str::from_utf8(small).unwrap()));
    assert!(page.contains(&signed), "docs/webhook.md must show {signed}");
}
