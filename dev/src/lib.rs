//! For the developers of this repository: its tests, its benchmarks, its derived files and its pins.

pub mod bench;
pub mod benchmarks;
pub mod generate;
pub mod generation;
pub mod pins;
pub mod test;
