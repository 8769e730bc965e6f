//! Simulated Heroku log traffic, as Logplex would post it: for the benchmark, the demo and tests.
//!
//! Owns the shape of made-up lines, their mix, and two ways to lay them out in time: a [`Workload`](write_workload)
//! written to files with an oracle beside it, and a [`Team`] of four apps that lives through a storm, a leak and
//! a bad release. Leaves out everything that sends: no sockets, no clock, no random source of the machine. The same
//! arguments always give the same bytes, so that a benchmark can be repeated and a demo can be tested.
//!
//! Every host, address, token and id in here is invented; hosts lie in `example.com`, client addresses in the
//! documentation networks of RFC 5737.

mod line;
mod rng;
mod team;
mod text;
mod workload;

pub use line::{parse_stamp, stamp};
pub use team::{Batch, QUIET_S, Team};
pub use workload::{SetSummary, TIMELINE_S, WorkloadArgs, WorkloadSummary, write_workload};
