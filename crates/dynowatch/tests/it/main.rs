//! Integration tests of the binary's crate, as one program.

#![cfg(test)]

mod config;
