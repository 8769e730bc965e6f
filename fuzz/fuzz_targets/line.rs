//! One frame's octets, or one line.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dynowatch_logplex::fuzz::line(data));
