//! The text of a metric line.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dynowatch_logplex::fuzz::samples(data));
