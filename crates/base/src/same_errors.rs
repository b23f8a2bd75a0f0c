//! Joins errors of the same kind, so that one mistake in twenty projects is one message.

use crate::error::Error;
use crate::text::list_first;

/// The number of projects that a joined error names.
const MAX_LISTED_NAMES: usize = 3;

/// The mark of the name in a message.
const NAME: &str = "\u{0}";

/// An error, with the name of the project or file that its texts contain.
pub type NamedError = (String, Error);

/// Joins the errors that differ in the name alone. Returns each joined error with the positions of its parts.
#[must_use]
pub fn join(errors: &[NamedError]) -> Vec<(Vec<usize>, Error)> {
    let mut groups: Vec<(Error, Vec<usize>)> = Vec::new();
    for (position, error) in errors.iter().enumerate() {
        let shape = shape(error);
        let same = groups.iter_mut().find(|(other, positions)| {
            let first = positions.first().and_then(|position| errors.get(*position));
            let has_same_hints = first.is_some_and(|(_, first)| first.hints == error.1.hints);
            (other.kind, &other.message) == (shape.kind, &shape.message)
                && (other.hints == shape.hints || has_same_hints)
        });
        match same {
            Some((_, positions)) => positions.push(position),
            None => groups.push((shape, vec![position])),
        }
    }
    groups.into_iter().map(|(shape, positions)| merge(errors, &shape, positions)).collect()
}

/// Returns the error with a placeholder for its name.
fn shape((name, error): &NamedError) -> Error {
    // A short name may be any word.
    let replaced = |text: &str| match text.strip_prefix(name).filter(|rest| rest.starts_with(": "))
    {
        Some(rest) => format!("{NAME}{rest}"),
        None if name.len() > 2 => text.replace(name, NAME),
        None => text.to_owned(),
    };
    // Beside a config may be the file that has to be corrected.
    let folder = name.rsplit_once('/').filter(|(_, file)| file.contains('.'));
    let folder = folder.map(|(folder, _)| folder).filter(|folder| folder.len() > 2);
    let replaced = |text: &str| {
        let text = replaced(text);
        folder.map_or_else(|| text.clone(), |folder| text.replace(folder, NAME))
    };
    let hints = error.hints.iter().map(|hint| replaced(hint)).collect();
    Error { hints, ..Error::new(error.kind, replaced(&format!("{error:#}"))) }
}

fn merge(errors: &[NamedError], shape: &Error, positions: Vec<usize>) -> (Vec<usize>, Error) {
    let all: Vec<&NamedError> =
        positions.iter().filter_map(|position| errors.get(*position)).collect();
    let Some(((_, first), others)) = all.split_first() else { return (positions, shape.clone()) };
    if others.is_empty() {
        return (positions, first.clone());
    }
    let names = |all: &[&NamedError]| {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        list_first(MAX_LISTED_NAMES, &names)
    };
    let rest = shape.message.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(": "));
    let message = match rest.filter(|rest| !rest.contains(NAME)) {
        Some(rest) => format!("{}: {rest}", names(&all)),
        None if shape.message.contains(NAME) => {
            format!("{first:#}; the same for {}", names(others))
        }
        None => format!("{}: {}", names(&all), shape.message),
    };
    let hints = shape.hints.iter().zip(&first.hints).map(|(shape, first)| {
        let is_same = all.iter().all(|(_, error)| error.hints.contains(first));
        if shape.contains(NAME) && !is_same {
            format!("{first}, and likewise for the others")
        } else {
            first.clone()
        }
    });
    let hints = hints.collect();
    (positions, Error { hints, ..Error::new(first.kind, message) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::refused;

    #[test]
    fn errors_that_differ_in_the_name_are_one() {
        let pages = |name: &str| {
            let failure = refused(format!("{name}: this is a Pages project")).hint("see the guide");
            (name.to_owned(), failure)
        };
        let unlocked = |name: &str| {
            let failure = refused(format!("{name} has no lock file"));
            (name.to_owned(), failure.hint(format!("run `npm install` in {name}")))
        };
        let mut errors: Vec<NamedError> = ["a/x", "b/x", "c/x", "d/x", "e/x"].map(pages).into();
        errors.insert(1, unlocked("apps/one"));
        errors.extend(["apps/two", "apps/three"].map(unlocked));
        errors.push(("z".to_owned(), refused("apps/z: other").hint("see the guide")));
        let found: Vec<String> = join(&errors)
            .iter()
            .map(|(positions, error)| format!("{positions:?} {}", error.with_hints()))
            .collect();
        expect_test::expect![[r"
            [0, 2, 3, 4, 5] a/x, b/x, c/x and 2 more: this is a Pages project
            hint: see the guide
            [1, 6, 7] apps/one has no lock file; the same for apps/two, apps/three
            hint: run `npm install` in apps/one, and likewise for the others
            [8] apps/z: other
            hint: see the guide"]]
        .assert_eq(&found.join("\n"));
    }
}
