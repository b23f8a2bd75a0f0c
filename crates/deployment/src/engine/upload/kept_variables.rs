//! Keeps the variables of the dashboard in a deployment with `keep_vars`.
//!
//! `--strict` stops wrangler if a variable of the dashboard is not in the config, also with `keep_vars` (observed with
//! 4.164). So the config to upload gets these variables. Wrangler still compares everything, and stops at any other
//! change.

use serde_json::{Map, Value};

use crate::engine::project_run::ProjectRun;
use crate::engine::upload::PreparedUpload;
use base::error::{Result, unwritable};
use cloudflare::api::WorkerVariable;
use cloudflare::wrangler::UploadKind;

/// The flag of wrangler with the effect of `keep_vars`.
const KEEP_VARS: &str = "--keep-vars";

/// Adds the variables of the dashboard to a prepared upload that keeps them.
pub fn add(run: &ProjectRun<'_>, prepared: &mut PreparedUpload) -> Result<()> {
    let project = run.project;
    if run.plan.kind(project) == UploadKind::Preview {
        return Ok(());
    }
    let path = run.shared.paths.upload_folder(project).join("upload/config.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| unwritable(format!("cannot read {path}: {error}")))?;
    let Ok(Value::Object(mut config)) = serde_json::from_str(&text) else { return Ok(()) };
    let has_flag = project.flags.all().iter().any(|flag| flag == KEEP_VARS);
    if !has_flag && config.get("keep_vars") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let set =
        run.read("the variables of the Worker", |api| api.variables(&project.target.worker))?;
    let overrides = merge(&mut config, set);
    prepared
        .command
        .argv
        .extend(overrides.into_iter().map(|(name, value)| format!("--var={name}:{value}")));
    std::fs::write(&path, Value::Object(config).to_string())
        .map_err(|error| unwritable(format!("cannot write {path}: {error}")))
}

/// Gives the `vars` of a config the values of the dashboard. Returns the config's own values that differ from them: an
/// option of wrangler sets these, because wrangler does not compare it.
fn merge(config: &mut Map<String, Value>, set: Vec<WorkerVariable>) -> Vec<(String, String)> {
    let mut variables = match config.get("vars") {
        Some(Value::Object(variables)) => variables.clone(),
        _ => Map::new(),
    };
    let others: Vec<&Value> =
        config.iter().filter(|(name, _)| *name != "vars").map(|(_, value)| value).collect();
    let mut overrides = Vec::new();
    for WorkerVariable { name, value } in set {
        match variables.get(&name) {
            None if others.iter().any(|other| binds(other, &name)) => {}
            Some(own) if *own == value => {}
            None => {
                variables.insert(name, value);
            }
            Some(Value::String(own)) => {
                overrides.push((name.clone(), own.clone()));
                variables.insert(name, value);
            }
            // The option sets only texts, so wrangler has to stop.
            Some(_) => {}
        }
    }
    if !variables.is_empty() {
        config.insert("vars".to_owned(), Value::Object(variables));
    }
    overrides
}

/// Returns whether a field of a config has a binding of this name.
fn binds(value: &Value, name: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| binds(item, name)),
        Value::Object(fields) => {
            ["binding", "name"].iter().any(|field| fields.get(*field).is_some_and(|at| at == name))
                || fields.values().any(|field| binds(field, name))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_of_the_dashboard_are_added_and_own_values_win() {
        let mut config = json!({
            "vars": { "SAME": "1", "TEXT": "own", "JSON": { "a": 1 }, "NEW": "n" },
            "kv_namespaces": [{ "binding": "KV", "id": "x" }],
        });
        let set = [
            ("SAME", json!("1")),
            ("TEXT", json!("dash: board")),
            ("JSON", json!({ "a": 2 })),
            ("KV", json!("a variable")),
            ("EXTRA", json!("kept")),
            ("OBJECT", json!({ "b": [1] })),
        ];
        let set = set.map(|(name, value)| WorkerVariable { name: name.to_owned(), value }).into();
        let overrides = merge(config.as_object_mut().expect("a config"), set);
        assert_eq!(overrides, [("TEXT".to_owned(), "own".to_owned())]);
        let wanted = json!({
            "SAME": "1", "TEXT": "dash: board", "JSON": { "a": 1 }, "NEW": "n", "EXTRA": "kept",
            "OBJECT": { "b": [1] },
        });
        assert_eq!(config["vars"], wanted);
        let mut none = Map::new();
        assert!(merge(&mut none, Vec::new()).is_empty() && none.is_empty());
    }
}
