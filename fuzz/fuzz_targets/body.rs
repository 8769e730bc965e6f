//! One POST body, and the same bytes as a file.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dynowatch_logplex::fuzz::body(data));
