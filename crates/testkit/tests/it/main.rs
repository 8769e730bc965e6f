//! The fakes are believed by every other test, so they are tested themselves.

mod fakes;
mod postgres;
mod process;
