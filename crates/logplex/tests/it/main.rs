//! The formats, by table and by property.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end a test as tests may")]

mod corpus;
mod entries;
mod frame;
mod message;
mod props;
mod records;
mod rejoin;
mod router;
mod samples;
mod support;
