//! The parts of the `docs` test.

pub mod generated;
mod markdown;
pub mod page;
