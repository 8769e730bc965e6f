//! The text of a router line.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dynowatch_logplex::fuzz::router(data));
