//! Applies migrations of Durable Objects
//! (<https://developers.cloudflare.com/durable-objects/reference/durable-objects-migrations/>).

use serde::Deserialize;

use super::envelope::CloudflareError;
use crate::ids::random_id;
use crate::state::model::{DURABLE_OBJECT, DurableClass, Exports, Worker};

/// The `migrations` of an upload. Clients send a list of steps, or the fields of a single step.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Migrations {
    old_tag: Option<String>,
    new_tag: Option<String>,
    steps: Vec<MigrationStep>,
    #[serde(flatten)]
    single: MigrationStep,
}

/// The changes of one migration.
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
    check_tag(worker, migrations)?;
    for step in migrations.all_steps() {
        apply_step(worker, step)?;
    }
    let is_missing = |class: &&DurableClass| !exports.has_class(&class.name, DURABLE_OBJECT);
    let mut missing = worker.classes.iter().filter(is_missing);
    if let Some(class) = missing.find(|class| migrations.adds_class(&class.name)) {
        let text = format!(
            "Cannot apply new-class migration to class '{}' that is not exported by script.",
            class.name
        );
        return Err(CloudflareError::new(400, 10_070, &text));
    }
    worker.migration_tag.clone_from(&migrations.new_tag);
    Ok(())
}

/// Refuses migrations for another state than the Worker's. A request without an old tag requires that no
/// migration was applied before.
fn check_tag(worker: &Worker, migrations: &Migrations) -> Result<(), CloudflareError> {
    let expected = migrations.old_tag.as_deref().unwrap_or_default();
    let current = worker.migration_tag.as_deref();
    if expected == current.unwrap_or_default() {
        return Ok(());
    }
    let text = match current {
        Some(tag) => format!("Migration tag precondition failed; current tag is '{tag}'"),
        None => "Migration tag precondition failed; no migrations were applied yet".to_owned(),
    };
    Err(CloudflareError::new(412, 10_079, &text))
}

/// Renames, deletes and creates classes, in this order.
fn apply_step(worker: &mut Worker, step: &MigrationStep) -> Result<(), CloudflareError> {
    if !step.transferred_classes.is_empty() {
        let text = "The sandbox does not support the transfer of Durable Objects between Workers, which a migration declares. \
                    Deploy to Cloudflare with `--env`";
        return Err(CloudflareError::new(501, 7000, text));
    }
    for rename in &step.renamed_classes {
        find_class(worker, &rename.from)?.name.clone_from(&rename.to);
    }
    for class in &step.deleted_classes {
        find_class(worker, class)?;
        worker.classes.retain(|known| known.name != *class);
    }
    for (class, sqlite) in step.created_classes() {
        if worker.classes.iter().any(|known| known.name == *class) {
            let text = format!(
                "Cannot apply new-class migration to class '{class}' that is already depended on by \
                 existing Durable Objects."
            );
            return Err(CloudflareError::new(400, 10_074, &text));
        }
        worker.classes.push(DurableClass { id: random_id(), name: class.clone(), sqlite });
    }
    Ok(())
}

/// Refuses a version that lacks a class of the Worker's Durable Objects.
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
    fn all_steps(&self) -> impl Iterator<Item = &MigrationStep> {
        self.steps.iter().chain(std::iter::once(&self.single))
    }

    fn adds_class(&self, class: &str) -> bool {
        self.all_steps().flat_map(MigrationStep::created_classes).any(|(new, _)| new == class)
    }
}

impl MigrationStep {
    /// Lists the new classes, each with `true` if its storage is SQLite.
    fn created_classes(&self) -> impl Iterator<Item = (&String, bool)> {
        let key_value = self.new_classes.iter().map(|class| (class, false));
        key_value.chain(self.new_sqlite_classes.iter().map(|class| (class, true)))
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

    fn migrate(
        worker: &mut Worker,
        migrations: serde_json::Value,
        names: &[&str],
    ) -> Result<(), CloudflareError> {
        let migrations = serde_json::from_value(migrations).expect("migrations");
        apply(worker, &migrations, &exports(names))
    }

    #[test]
    fn classes_are_created_renamed_and_deleted() {
        let mut worker = Worker::new("account", "site");
        let steps = json!({ "new_tag": "v1", "steps": [{ "new_sqlite_classes": ["A"] }, { "new_classes": ["B"] }] });
        migrate(&mut worker, steps, &["A", "B"]).expect("created");
        let id = worker.classes[0].id.clone();
        let renamed = json!({ "old_tag": "v1", "new_tag": "v2", "renamed_classes": [{ "from": "A", "to": "C" }] });
        migrate(&mut worker, renamed, &["B", "C"]).expect("renamed");
        assert_eq!(worker.classes[0], DurableClass { id, name: "C".to_owned(), sqlite: true });
        let deleted = json!({ "old_tag": "v2", "new_tag": "v3", "deleted_classes": ["B"] });
        migrate(&mut worker, deleted, &["C"]).expect("deleted");
        assert_eq!((worker.classes.len(), worker.migration_tag.as_deref()), (1, Some("v3")));
        assert!(check_existing_classes(&worker, &exports(&["C"])).is_ok());
        assert!(check_existing_classes(&worker, &exports(&[])).is_err());
    }

    #[test]
    fn invalid_migrations_are_refused() {
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
                migrate(&mut worker.clone(), migrations.clone(), &["A", "B"]).is_err(),
                "{migrations}"
            );
        }
    }
}
