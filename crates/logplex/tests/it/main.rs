//! The formats, by table and by property.

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
