//! Integration tests of the binary's crate, as one program.

#![cfg(test)]

mod canary;
mod check_crash;
mod cli;
mod config;
mod crash;
mod deploy;
mod metrics_crash;
mod own_log;
mod runbook;
mod sign_in;
mod storm;
mod terminal;
#[cfg(target_os = "linux")]
mod trial_memory;
mod two_processes;
