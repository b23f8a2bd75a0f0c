//! For the developers of this repository: its tests, its benchmarks and its derived files.

pub mod bench;
pub mod benchmarks;
pub mod generate;
pub mod generation;
pub mod test;
