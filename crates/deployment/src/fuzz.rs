//! Feeds mutated copies of the records of the Cloudflare module to the parsers: none panics, and each returns within a second.

#[path = "../../workspace/src/mutation.rs"]
mod mutation;

use std::hint::black_box;

use workspace::strategy::Strategy;

use crate::engine::upload::dagger::module_record;

/// The nonce in the corpus.
const NONCE: &str = "1795964107-505296d0";

#[test]
fn records_of_the_module() {
    mutation::run("module-record", base::env::variable("XTASK_FUZZ"), |text| {
        for strategy in [None, Some(Strategy::Alias), Some(Strategy::Preview)] {
            let _version = black_box(module_record(text, NONCE, strategy));
        }
    });
}
