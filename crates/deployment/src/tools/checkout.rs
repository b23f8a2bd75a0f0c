//! The checkout that this program was compiled from.

use camino::Utf8Path;

use workspace::own_repository::OwnRepository;

/// Returns the root of the checkout. `None` if it is not on this machine.
#[must_use]
pub fn root() -> Option<&'static Utf8Path> {
    let library = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    library.ancestors().find(|folder| OwnRepository::read(folder).is_some())
}
