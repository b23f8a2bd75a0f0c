//! The checkout that this program was compiled from.

use camino::Utf8Path;

use workspace::own_repository::OwnRepository;

/// Returns the folder of this library when it was compiled. It may not exist on this machine.
#[must_use]
pub fn library() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the root of the checkout. `None` if it is not on this machine.
#[must_use]
pub fn root() -> Option<&'static Utf8Path> {
    library().ancestors().find(|folder| OwnRepository::read(folder).is_some())
}
