//! Feeds mutated copies of the sandbox's state files to the parsers. No parser may panic or take more than a second.

#[path = "../../crates/workspace/src/mutation.rs"]
mod mutation;

use std::hint::black_box;

use super::gitlab::model::StoredProject;
use super::state::model::Worker;
use super::state::resources::Resources;
use super::state::seal::unseal;

#[test]
fn state_files() {
    mutation::run("state", std::env::var("XTASK_FUZZ").ok(), |text| {
        let _values = black_box((
            unseal::<Worker>(text.as_bytes()),
            unseal::<Resources>(text.as_bytes()),
            unseal::<StoredProject>(text.as_bytes()),
        ));
    });
}
