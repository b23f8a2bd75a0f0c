//! Applies the `exports` of an upload, which declare the classes of Durable Objects
//! (<https://developers.cloudflare.com/durable-objects/reference/durable-objects-migrations/>).
//!
//! The names of the scenarios and the fields of the summary are those of the API
//! (<https://developers.cloudflare.com/api/resources/workers/subresources/scripts/methods/update/>).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::envelope::CloudflareError;
use crate::app::App;
use crate::ids::random_id;
use crate::state::model::{DURABLE_OBJECT, DurableClass, Exports, Worker, WorkerVersion};

/// One entry of `exports`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct DeclaredExport {
    #[serde(rename = "type")]
    kind: String,
    state: Option<String>,
    storage: Option<String>,
    renamed_to: Option<String>,
}

/// The declared classes of Durable Objects, by their names. Entries of other types change no storage.
#[derive(Clone, Debug, Default)]
pub struct DeclaredClasses(BTreeMap<String, DeclaredExport>);

/// The changes that `exports` make to the classes of a Worker.
#[derive(Debug, Default)]
struct Reconciliation {
    created: Vec<String>,
    deleted: Vec<String>,
    renamed: Vec<Value>,
    info: Vec<Value>,
    removable: Vec<String>,
    errors: Vec<Value>,
}

impl DeclaredClasses {
    /// Parses the `exports` of an upload. `null` declares nothing.
    pub fn parse(exports: &Value) -> Result<DeclaredClasses, CloudflareError> {
        let entries: Option<BTreeMap<String, DeclaredExport>> =
            serde_json::from_value(exports.clone())
                .map_err(|error| CloudflareError::invalid(&format!("Invalid exports: {error}")))?;
        let mut entries = entries.unwrap_or_default();
        entries.retain(|_, entry| entry.kind == DURABLE_OBJECT);
        Ok(DeclaredClasses(entries))
    }

    /// Returns whether no class is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a class is declared as one that exists.
    #[must_use]
    pub fn is_live(&self, class: &str) -> bool {
        self.0.get(class).is_some_and(|entry| entry.state() == "created")
    }
}

impl DeclaredExport {
    fn state(&self) -> &str {
        self.state.as_deref().unwrap_or("created")
    }
}

impl Reconciliation {
    fn fail(&mut self, scenario: &str, class: &str, message: &str, suggestion: &str) {
        self.errors.push(json!({
            "class": class, "scenario": scenario, "message": message, "suggestion": suggestion,
        }));
    }

    fn inform(&mut self, scenario: &str, class: &str, message: &str) {
        self.info.push(json!({ "class": class, "scenario": scenario, "message": message }));
    }

    /// Adds the information that an entry has no effect any more.
    fn add_stale(&mut self, class: &str) {
        self.inform("stale_tombstone", class, "The class has no Durable Object namespace.");
        self.removable.push(class.to_owned());
    }

    fn delete(&mut self, worker: &mut Worker, class: &str, code: &Exports, users: &[String]) {
        if !has_namespace(worker, class) {
            self.add_stale(class);
        } else if code.has_durable_object(class) {
            let text = format!("class '{class}' is declared as deleted, but the script exports it");
            let fix = "remove the class from the code";
            self.fail("tombstone_delete_class_still_in_code", class, &text, fix);
        } else if !users.is_empty() {
            let text = format!("class '{class}' is declared as deleted, but other Workers bind it");
            let scenario = "tombstone_delete_blocked_by_external_bindings";
            self.fail(scenario, class, &text, "remove these bindings first");
            if let Some(error) = self.errors.last_mut() {
                error["referencing_scripts"] = json!(users);
            }
        } else {
            worker.classes.retain(|known| known.name != *class);
            self.deleted.push(class.to_owned());
        }
    }

    fn rename(&mut self, worker: &mut Worker, class: &str, to: &str, code: &Exports) {
        if !has_namespace(worker, class) {
            return self.add_stale(class);
        }
        if has_namespace(worker, to) {
            let text = format!("class '{class}' cannot be renamed, because '{to}' has a namespace");
            return self.fail("tombstone_renamed_to_occupied", class, &text, "choose another name");
        }
        if code.has_durable_object(class) {
            let text = "The class was renamed, and the script still exports its previous name.";
            self.inform("tombstone_class_still_in_code", class, text);
        }
        for known in worker.classes.iter_mut().filter(|known| known.name == class) {
            to.clone_into(&mut known.name);
        }
        self.renamed.push(json!({ "from": class, "to": to }));
    }

    fn create(&mut self, worker: &mut Worker, class: &str, sqlite: bool, code: &Exports) {
        let existing = worker.classes.iter().find(|known| known.name == class);
        let existing_storage = existing.map(|known| known.sqlite);
        if !code.has_class(class, DURABLE_OBJECT) {
            let scenario = match existing {
                Some(_) => "config_export_not_in_code",
                None => "config_references_nonexistent_class",
            };
            let text = format!("class '{class}' is declared, but the script does not export it");
            self.fail(scenario, class, &text, "export the class, or remove the entry");
        } else if existing_storage.is_some_and(|storage| storage != sqlite) {
            let storage = if sqlite { "legacy-kv" } else { "sqlite" };
            let text = format!("the storage of class '{class}' is {storage}, and cannot change");
            let fix = format!("set `storage` to \"{storage}\"");
            self.fail("storage_type_mismatch", class, &text, &fix);
        } else if existing_storage.is_none() {
            let name = class.to_owned();
            worker.classes.push(DurableClass { id: random_id(), name, sqlite });
            self.created.push(class.to_owned());
        }
    }

    fn finish(self) -> Result<Value, CloudflareError> {
        if self.errors.is_empty() {
            return Ok(json!({
                "created": self.created, "updated": [], "deleted": self.deleted,
                "renamed": self.renamed, "transferred": [], "transfer_pending": [], "warnings": [],
                "info": self.info, "removable_entries": self.removable,
            }));
        }
        let lines = self.errors.iter().map(|error| {
            let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
            format!("[{}] {} ({})", text("scenario"), text("message"), text("suggestion"))
        });
        let lines: Vec<String> = lines.collect();
        let text = format!("Durable Object exports reconciliation failed: {}", lines.join("; "));
        let details = json!({ "details": self.errors });
        Err(CloudflareError::new(400, 100_402, &text).with_meta(details))
    }
}

/// Applies the declared classes to those of a Worker. Returns a summary of the changes. `users` names the other Workers
/// that bind a class.
pub fn reconcile(
    worker: &mut Worker,
    declared: &DeclaredClasses,
    code: &Exports,
    users: impl Fn(&str) -> Vec<String>,
) -> Result<Value, CloudflareError> {
    let mut result = Reconciliation::default();
    // A renamed class keeps its storage, so it is not created first.
    for (class, entry) in &declared.0 {
        match (entry.state(), &entry.renamed_to) {
            ("created", _) => {}
            ("deleted", _) => result.delete(worker, class, code, &users(class)),
            ("renamed", Some(to)) if declared.is_live(to) => result.rename(worker, class, to, code),
            ("renamed", _) => {
                let text = format!("class '{class}' is renamed to a class that is not declared");
                let fix = "declare the new class in `exports` too";
                result.fail("invalid_export", class, &text, fix);
            }
            ("transferred" | "expecting-transfer", _) => {
                let text = format!(
                    "The sandbox does not support the transfer of Durable Objects between Workers, which the export \
                     '{class}' declares. Deploy to Cloudflare with `--env`"
                );
                return Err(CloudflareError::new(501, 7000, &text));
            }
            (state, _) => {
                let text = format!("class '{class}' has the unknown state {state:?}");
                result.fail("invalid_export", class, &text, "correct `state`");
            }
        }
    }
    for (class, entry) in declared.0.iter().filter(|(_, entry)| entry.state() == "created") {
        match entry.storage.as_deref() {
            Some(storage @ ("sqlite" | "legacy-kv")) => {
                result.create(worker, class, storage == "sqlite", code);
            }
            _ => {
                let text = format!("class '{class}' has no valid `storage`");
                result.fail("invalid_export", class, &text, "set `storage` to \"sqlite\"");
            }
        }
    }
    for class in worker.classes.iter().filter(|class| !declared.0.contains_key(&class.name)) {
        let scenario = match code.has_class(&class.name, DURABLE_OBJECT) {
            true => "provisioned_class_missing_from_config",
            false => "orphaned_provisioned_namespace",
        };
        let text = format!(
            "class '{}' has a Durable Object namespace, but is not declared in `exports`",
            class.name
        );
        let fix = "declare it, or add an entry with `state` \"deleted\" or \"renamed\"";
        result.fail(scenario, &class.name, &text, fix);
    }
    for class in code.durable_objects().filter(|class| !declared.0.contains_key(*class)) {
        if !has_namespace(worker, class) {
            let text = "The script exports the class, but `exports` does not declare it.";
            result.inform("code_class_not_in_exports", class, text);
        }
    }
    let summary = result.finish()?;
    worker.declares_classes = true;
    Ok(summary)
}

/// Applies the declared classes of versions that are about to be deployed. Errors if they declare different ones.
pub fn reconcile_deployment(
    app: &App,
    worker: &mut Worker,
    versions: &[WorkerVersion],
) -> Result<(), CloudflareError> {
    let Some(first) = versions.first() else { return Ok(()) };
    let is_declared = |version: &WorkerVersion| !version.declared_exports.is_null();
    if !worker.declares_classes && !versions.iter().any(is_declared) {
        return Ok(());
    }
    if versions.iter().any(|version| version.declared_exports != first.declared_exports) {
        let text = "The versions of a deployment must have the same `exports`.";
        return Err(CloudflareError::new(400, 100_405, text));
    }
    let declared = DeclaredClasses::parse(&first.declared_exports)?;
    if declared.is_empty() && !worker.declares_classes {
        return Ok(());
    }
    for version in versions {
        let code = version.exports.clone().unwrap_or_default();
        let users = |class: &str| binding_workers(app, &worker.account, &worker.name, class);
        let mut changed = worker.clone();
        reconcile(&mut changed, &declared, &code, users)?;
        *worker = changed;
    }
    Ok(())
}

/// Returns the names of the other Workers whose live version binds a class of the Worker `name`.
pub fn binding_workers(app: &App, account: &str, name: &str, class: &str) -> Vec<String> {
    let binds = |worker: &Worker| {
        let bindings = worker.serving().flat_map(|(version, _)| &version.bindings);
        bindings.into_iter().any(|binding| {
            binding["type"] == "durable_object_namespace"
                && binding["script_name"] == name
                && binding["class_name"] == class
        })
    };
    let workers = app.store.workers();
    let others = workers.iter().filter(|worker| worker.account == account && worker.name != name);
    others.filter(|worker| binds(worker)).map(|worker| worker.name.clone()).collect()
}

fn has_namespace(worker: &Worker, class: &str) -> bool {
    worker.classes.iter().any(|known| known.name == class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::model::Entrypoint;

    fn code(names: &[&str]) -> Exports {
        let entrypoint = |name: &&str| Entrypoint {
            name: (*name).to_owned(),
            kind: DURABLE_OBJECT.to_owned(),
            handlers: Vec::new(),
        };
        Exports { entrypoints: names.iter().map(entrypoint).collect(), ..Exports::default() }
    }

    fn apply(worker: &mut Worker, exports: &Value, names: &[&str]) -> Result<Value, Value> {
        let declared = DeclaredClasses::parse(exports).expect("exports");
        let users = |class: &str| match class {
            "Shared" => vec!["other".to_owned()],
            _ => Vec::new(),
        };
        reconcile(worker, &declared, &code(names), users).map_err(|error| error.json())
    }

    #[test]
    fn declared_classes_are_created_renamed_and_deleted() {
        let live = json!({ "type": "durable-object", "storage": "sqlite" });
        let old = json!({ "type": "durable-object", "state": "created", "storage": "legacy-kv" });
        let mut worker = Worker::new("account", "site");
        let first = json!({ "A": live, "B": old, "default": { "type": "worker" } });
        let made = apply(&mut worker, &first, &["A", "B", "C"]).expect("created");
        assert_eq!(made["created"], json!(["A", "B"]));
        assert_eq!(made["info"][0]["scenario"], "code_class_not_in_exports");
        let ids: Vec<String> = worker.classes.iter().map(|class| class.id.clone()).collect();
        let same = apply(&mut worker, &first, &["A", "B"]).expect("unchanged");
        assert_eq!((&same["created"], &same["info"]), (&json!([]), &json!([])));
        let second = json!({
            "A": { "type": "durable-object", "state": "renamed", "renamed_to": "Z" }, "Z": live,
            "B": { "type": "durable-object", "state": "deleted" },
        });
        let changed = apply(&mut worker, &second, &["Z"]).expect("changed");
        assert_eq!(changed["renamed"], json!([{ "from": "A", "to": "Z" }]));
        assert_eq!((&changed["deleted"], &changed["created"]), (&json!(["B"]), &json!([])));
        let kept = DurableClass { id: ids[0].clone(), name: "Z".to_owned(), sqlite: true };
        assert_eq!(worker.classes, [kept]);
        let stale = apply(&mut worker, &second, &["Z"]).expect("unchanged");
        assert_eq!(stale["removable_entries"], json!(["A", "B"]));
    }

    #[test]
    fn contradictions_are_refused_and_transfers_are_not_supported() {
        let entry = |state: &str| json!({ "type": "durable-object", "state": state });
        let live = json!({ "type": "durable-object", "storage": "sqlite" });
        let other = json!({ "type": "durable-object", "storage": "legacy-kv" });
        let to = |name: &str| json!({ "type": "durable-object", "state": "renamed", "renamed_to": name });
        let mut worker = Worker::new("account", "site");
        let names = ["A", "Shared"];
        let both = json!({ "A": live, "Shared": live });
        apply(&mut worker, &both, &names).expect("created");
        for (exports, names, expected) in [
            (json!({ "A": live }), &names[..], "provisioned_class_missing_from_config"),
            (json!({ "A": live }), &names[..1], "orphaned_provisioned_namespace"),
            (both.clone(), &names[..1], "config_export_not_in_code"),
            (
                json!({ "A": live, "Shared": live, "X": live }),
                &names[..],
                "config_references_nonexistent_class",
            ),
            (json!({ "A": other, "Shared": live }), &names[..], "storage_type_mismatch"),
            (json!({ "A": entry("created"), "Shared": live }), &names[..], "invalid_export"),
            (
                json!({ "A": entry("deleted"), "Shared": live }),
                &names[..],
                "tombstone_delete_class_still_in_code",
            ),
            (
                json!({ "A": live, "Shared": entry("deleted") }),
                &names[..1],
                "tombstone_delete_blocked_by_external_bindings",
            ),
            (
                json!({ "A": to("Shared"), "Shared": live }),
                &names[1..],
                "tombstone_renamed_to_occupied",
            ),
            (json!({ "A": to("X"), "Shared": live }), &names[1..], "invalid_export"),
        ] {
            let error = apply(&mut worker.clone(), &exports, names).expect_err("an error");
            let scenario = &error["meta"]["details"][0]["scenario"];
            assert_eq!((scenario, &error["code"]), (&json!(expected), &json!(100_402)), "{error}");
        }
        for state in ["transferred", "expecting-transfer"] {
            let exports = json!({ "A": entry(state), "Shared": live });
            let error = apply(&mut worker.clone(), &exports, &names).expect_err("an error");
            assert_eq!(error["code"], 7000, "{error}");
        }
    }
}
