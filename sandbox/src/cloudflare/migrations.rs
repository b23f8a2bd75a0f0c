//! Applies migrations of Durable Objects
//! (<https://developers.cloudflare.com/durable-objects/reference/durable-objects-migrations/>).

use serde::Deserialize;

use super::envelope::CloudflareError;
use crate::ids::{hex, random};
use crate::state::model::{DURABLE_OBJECT, DurableClass, Exports, Worker};

/// The `migrations` of an upload, in either of the two forms that clients send.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Migrations {
    old_tag: Option<String>,
    new_tag: Option<String>,
    steps: Vec<MigrationStep>,
    #[serde(flatten)]
    single: MigrationStep,
}

/// A step of migrations.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MigrationStep {
    new_classes: Vec<String>,
    new_sqlite_classes: Vec<String>,
    deleted_classes: Vec<String>,
    renamed_classes: Vec<ClassRename>,
    transferred_classes: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct ClassRename {
    from: String,
    to: String,
}

/// Applies migrations to the classes of a Worker, for a version that exports `exports`.
pub fn apply(
    worker: &mut Worker,
    migrations: &Migrations,
    exports: &Exports,
) -> Result<(), CloudflareError> {
    // A request without an old tag requires that no tag is set.
    if migrations.old_tag.as_deref().unwrap_or_default()
        != worker.migration_tag.as_deref().unwrap_or_default()
    {
        let text = match &worker.migration_tag {
            Some(tag) => format!("Migration tag precondition failed; current tag is '{tag}'"),
            None => "Migration tag precondition failed; no migrations were applied yet".to_owned(),
        };
        return Err(CloudflareError::new(412, 10_079, &text));
    }
    for step in migrations.steps.iter().chain(std::iter::once(&migrations.single)) {
        if !step.transferred_classes.is_empty() {
            return Err(CloudflareError::new(
                501,
                7000,
                "The sandbox transfers no classes between Workers",
            ));
        }
        for renamed in &step.renamed_classes {
            find_class(worker, &renamed.from)?.name.clone_from(&renamed.to);
        }
        for class in &step.deleted_classes {
            find_class(worker, class)?;
            worker.classes.retain(|known| known.name != *class);
        }
        let plain = step.new_classes.iter().map(|class| (class, false));
        for (class, sqlite) in
            plain.chain(step.new_sqlite_classes.iter().map(|class| (class, true)))
        {
            if worker.classes.iter().any(|known| known.name == *class) {
                let text = format!(
                    "Cannot apply new-class migration to class '{class}' that is already depended on by \
                     existing Durable Objects."
                );
                return Err(CloudflareError::new(400, 10_074, &text));
            }
            let id = hex(&random::<16>());
            worker.classes.push(DurableClass { id, name: class.clone(), sqlite });
        }
    }
    let missing =
        worker.classes.iter().find(|class| !exports.has_class(&class.name, DURABLE_OBJECT));
    if let Some(class) = missing.filter(|class| migrations.adds_class(&class.name)) {
        let text = format!(
            "Cannot apply new-class migration to class '{}' that is not exported by script.",
            class.name
        );
        return Err(CloudflareError::new(400, 10_070, &text));
    }
    worker.migration_tag.clone_from(&migrations.new_tag);
    Ok(())
}

/// Refuses a version that does not export a class that has Durable Objects.
pub fn check_existing_classes(worker: &Worker, exports: &Exports) -> Result<(), CloudflareError> {
    match worker.classes.iter().find(|class| !exports.has_class(&class.name, DURABLE_OBJECT)) {
        None => Ok(()),
        Some(class) => {
            let text = format!(
                "New version of script does not export class '{}' which is depended on by existing \
                 Durable Objects. If you want to delete the object's storage, use a delete-class migration.",
                class.name
            );
            Err(CloudflareError::new(400, 10_064, &text))
        }
    }
}

impl Migrations {
    fn adds_class(&self, class: &str) -> bool {
        let steps = self.steps.iter().chain(std::iter::once(&self.single));
        steps
            .flat_map(|step| step.new_classes.iter().chain(&step.new_sqlite_classes))
            .any(|new| new == class)
    }
}

fn find_class<'w>(
    worker: &'w mut Worker,
    class: &str,
) -> Result<&'w mut DurableClass, CloudflareError> {
    worker.classes.iter_mut().find(|known| known.name == class).ok_or_else(|| {
        let text = format!("Cannot apply a migration to class '{class}', which does not exist");
        CloudflareError::new(400, 10_071, &text)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::model::Entrypoint;

    fn exports(names: &[&str]) -> Exports {
        let entrypoint = |name: &&str| Entrypoint {
            name: (*name).to_owned(),
            kind: "durable-object".to_owned(),
            handlers: Vec::new(),
        };
        Exports { entrypoints: names.iter().map(entrypoint).collect(), ..Exports::default() }
    }

    fn play(
        worker: &mut Worker,
        migrations: serde_json::Value,
        names: &[&str],
    ) -> Result<(), CloudflareError> {
        let migrations = serde_json::from_value(migrations).expect("migrations");
        apply(worker, &migrations, &exports(names))
    }

    #[test]
    fn classes_are_made_renamed_and_deleted() {
        let mut worker = Worker::new("account", "site");
        let steps = json!({ "new_tag": "v1", "steps": [{ "new_sqlite_classes": ["A"] }, { "new_classes": ["B"] }] });
        play(&mut worker, steps, &["A", "B"]).expect("made");
        let id = worker.classes[0].id.clone();
        let renamed = json!({ "old_tag": "v1", "new_tag": "v2", "renamed_classes": [{ "from": "A", "to": "C" }] });
        play(&mut worker, renamed, &["B", "C"]).expect("renamed");
        assert_eq!(worker.classes[0], DurableClass { id, name: "C".to_owned(), sqlite: true });
        let deleted = json!({ "old_tag": "v2", "new_tag": "v3", "deleted_classes": ["B"] });
        play(&mut worker, deleted, &["C"]).expect("deleted");
        assert_eq!((worker.classes.len(), worker.migration_tag.as_deref()), (1, Some("v3")));
        assert!(check_existing_classes(&worker, &exports(&["C"])).is_ok());
        assert!(check_existing_classes(&worker, &exports(&[])).is_err());
    }

    #[test]
    fn wrong_migrations_are_refused() {
        let mut worker = Worker::new("account", "site");
        worker.classes.push(DurableClass {
            id: "1".to_owned(),
            name: "A".to_owned(),
            sqlite: true,
        });
        worker.migration_tag = Some("v1".to_owned());
        for migrations in [
            json!({ "new_tag": "v2", "new_classes": ["B"] }),
            json!({ "old_tag": "v0", "new_tag": "v2", "new_classes": ["B"] }),
            json!({ "old_tag": "v1", "new_tag": "v2", "new_classes": ["A"] }),
            json!({ "old_tag": "v1", "new_tag": "v2", "new_classes": ["NotExported"] }),
            json!({ "old_tag": "v1", "new_tag": "v2", "deleted_classes": ["X"] }),
            json!({ "old_tag": "v1", "new_tag": "v2", "renamed_classes": [{ "from": "X", "to": "Y" }] }),
        ] {
            assert!(
                play(&mut worker.clone(), migrations.clone(), &["A", "B"]).is_err(),
                "{migrations}"
            );
        }
    }
}
