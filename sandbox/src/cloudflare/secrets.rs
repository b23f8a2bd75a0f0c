//! Reads and changes the secrets of a Worker. Each change creates a version.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::JsonBody;
use super::envelope::{ApiResult, CloudflareError, list as listed, ok};
use super::versions::{is_secret, version_json};
use super::{AccountAndName, empty_result, rules, settings};
use crate::app::App;
use crate::ids::{now, uuid};
use crate::state::model::{Worker, WorkerVersion, full_traffic};
use crate::state::resources::DefaultSecrets;

/// The changes of secrets, by name. `None` deletes a secret.
type SecretChanges = BTreeMap<String, Option<SecretFields>>;

/// The field that marks the binding of a secret that has its default value.
const IS_DEFAULT: &str = "is_default";

fn is_default(binding: &Value) -> bool {
    binding[IS_DEFAULT] == true
}

/// Returns the secrets of the latest version that a client set. Default values are not among them.
fn client_secrets(worker: &Worker) -> impl Iterator<Item = &Value> {
    let latest = worker.versions.last();
    latest
        .into_iter()
        .flat_map(|version| &version.bindings)
        .filter(|binding| is_secret(binding) && !is_default(binding))
}

fn secret_names(worker: &Worker) -> Vec<Value> {
    client_secrets(worker)
        .map(|secret| json!({ "name": secret["name"], "type": secret["type"] }))
        .collect()
}

/// Returns the names of the defaults that a Worker uses. The secrets that a client set replace them.
#[must_use]
pub fn used_defaults(worker: Option<&Worker>, defaults: &DefaultSecrets) -> Vec<String> {
    let is_set = |name: &str| {
        worker.is_some_and(|worker| client_secrets(worker).any(|secret| secret["name"] == name))
    };
    defaults.values.keys().filter(|name| !is_set(name)).cloned().collect()
}

/// Returns the bindings of a new version. `resolve` makes them from the bindings of the previous version, in which
/// the current defaults replace the earlier ones. Adds the defaults that are missing in the result.
pub fn with_defaults(
    previous: &[Value],
    defaults: Option<&DefaultSecrets>,
    resolve: impl FnOnce(&[Value]) -> Result<Vec<Value>, CloudflareError>,
) -> Result<Vec<Value>, CloudflareError> {
    let mut inheritable: Vec<Value> =
        previous.iter().filter(|binding| !is_default(binding)).cloned().collect();
    let is_set = |name: &str| {
        inheritable
            .iter()
            .any(|binding| is_secret(binding) && binding["name"].as_str() == Some(name))
    };
    let values = defaults.iter().flat_map(|defaults| &defaults.values);
    let defaults: Vec<Value> = values
        .filter(|(name, _)| !is_set(name))
        .map(|(name, text)| json!({ "name": name, "type": "secret_text", "text": text, IS_DEFAULT: true }))
        .collect();
    inheritable
        .retain(|binding| !defaults.iter().any(|default| default["name"] == binding["name"]));
    inheritable.extend(defaults.iter().cloned());
    let mut bindings = resolve(&inheritable)?;
    for default in defaults {
        if !bindings.iter().any(|binding| binding["name"] == default["name"]) {
            bindings.push(default);
        }
    }
    Ok(bindings)
}

/// `GET …/secrets`
pub async fn list(State(app): State<App>, Path((account, name)): AccountAndName) -> ApiResult {
    Ok(listed(&secret_names(&*settings::worker(&app, &account, &name)?)))
}

/// `GET …/secrets/{secret}`
pub async fn view(
    State(app): State<App>,
    Path((account, name, secret)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    let entry = secret_names(&worker).into_iter().find(|entry| entry["name"] == secret.as_str());
    Ok(ok(&entry.ok_or_else(|| secret_not_found(&secret))?))
}

/// A secret in a request.
#[derive(Clone, Deserialize)]
pub struct SecretFields {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    text: Option<String>,
    /// The fields of a `secret_key`.
    #[serde(flatten)]
    key: Map<String, Value>,
}

impl SecretFields {
    /// Returns the kind. Older clients send none, because `secret_text` was the only one.
    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("secret_text")
    }

    fn binding(&self, name: &str) -> Value {
        let mut binding = Value::Object(self.key.clone());
        binding["name"] = json!(name);
        binding["type"] = json!(self.kind());
        if let Some(text) = &self.text {
            binding["text"] = json!(text);
        }
        binding
    }

    fn check(&self, name: &str) -> Result<(), CloudflareError> {
        let text = match self.kind() {
            "secret_text" => self.text.as_deref(),
            "secret_key" => self.key.get("algorithm").map(|_| ""),
            other => {
                let text = format!("The secret {name} has the unknown type {other:?}");
                return Err(CloudflareError::invalid(&text));
            }
        };
        let is_valid = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'$';
        if name.is_empty() || !name.bytes().all(is_valid) || name.as_bytes()[0].is_ascii_digit() {
            let text = format!(
                "The secret name {name:?} is invalid: it has letters, digits, `_` and `$`, and does not begin with a digit"
            );
            return Err(CloudflareError::invalid(&text));
        }
        let text = text
            .ok_or_else(|| CloudflareError::invalid(&format!("The secret {name} has no value")))?;
        rules::check_text(name, text)
    }
}

/// `PUT …/secrets`
pub async fn put(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(secret): JsonBody<SecretFields>,
) -> ApiResult {
    let document = json!({ "name": secret.name, "type": secret.kind() });
    let changes = SecretChanges::from([(secret.name.clone(), Some(secret))]);
    deploy_changes(&app, &account, &name, &changes)?;
    Ok(ok(&document))
}

/// `DELETE …/secrets/{secret}`
pub async fn delete(
    State(app): State<App>,
    Path((account, name, secret)): Path<(String, String, String)>,
) -> ApiResult {
    let worker = settings::worker(&app, &account, &name)?;
    if !secret_names(&worker).iter().any(|entry| entry["name"] == secret.as_str()) {
        return Err(secret_not_found(&secret));
    }
    deploy_changes(&app, &account, &name, &SecretChanges::from([(secret, None)]))?;
    Ok(empty_result())
}

/// `PATCH …/secrets-bulk`
pub async fn bulk(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult {
    let changes = parse_changes(&body["secrets"])?;
    deploy_changes(&app, &account, &name, &changes)?;
    Ok(ok(&json!({ "secrets": secret_names(&*settings::worker(&app, &account, &name)?) })))
}

/// The body of a patch to the latest version.
#[derive(Deserialize)]
pub struct VersionPatch {
    #[serde(default)]
    env: Value,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `PATCH /workers/workers/{worker}/versions/latest`: creates a version that is not deployed.
pub async fn patch_latest(
    State(app): State<App>,
    Path((account, name)): AccountAndName,
    JsonBody(body): JsonBody<VersionPatch>,
) -> ApiResult {
    let changes = parse_changes(&body.env)?;
    let version = settings::try_change(&app, &account, &name, |worker| {
        let version = with_changes(worker, &changes, body.annotations)?;
        worker.versions.push(version.clone());
        Ok(version)
    })?;
    Ok(ok(&version_json(&version)))
}

fn secret_not_found(secret: &str) -> CloudflareError {
    CloudflareError::new(404, 10_056, &format!("Secret {secret} not found"))
}

fn parse_changes(secrets: &Value) -> Result<SecretChanges, CloudflareError> {
    let entries = secrets.as_object().into_iter().flatten();
    let change = |(name, secret): (&String, &Value)| {
        let secret: Option<SecretFields> =
            serde_json::from_value(secret.clone()).map_err(|error| {
                CloudflareError::invalid(&format!("The secret {name} is invalid: {error}"))
            })?;
        Ok((name.clone(), secret))
    };
    entries.map(change).collect()
}

/// Changes secrets and makes the new version live. Like Cloudflare, refuses the change if the latest
/// version is not live, because its code would go live too.
fn deploy_changes(
    app: &App,
    account: &str,
    name: &str,
    changes: &SecretChanges,
) -> Result<(), CloudflareError> {
    settings::try_change(app, account, name, |worker| {
        let latest = worker.versions.last().map(|version| &version.id);
        if latest != worker.live().map(|version| &version.id) {
            let text = "Secret edit failed: the latest version isn't currently deployed";
            return Err(CloudflareError::new(400, 10_215, text));
        }
        let trigger = ("workers/triggered_by".to_owned(), "secret".to_owned());
        let version = with_changes(worker, changes, BTreeMap::from([trigger]))?;
        worker.deploy(full_traffic(&version.id), BTreeMap::new());
        worker.versions.push(version);
        Ok(())
    })
}

/// Returns a copy of the latest version with changed secrets.
fn with_changes(
    worker: &Worker,
    changes: &SecretChanges,
    annotations: BTreeMap<String, String>,
) -> Result<WorkerVersion, CloudflareError> {
    let latest = worker.versions.last().ok_or_else(CloudflareError::worker_not_found)?;
    let mut version = WorkerVersion {
        id: uuid(),
        number: worker.versions.len() + 1,
        created_on: now(),
        annotations,
        ..latest.clone()
    };
    for (name, secret) in changes {
        let previous = version.bindings.iter().find(|binding| binding["name"] == name.as_str());
        if previous.is_some_and(|binding| !is_secret(binding)) {
            return Err(CloudflareError::name_taken(name));
        }
        version.bindings.retain(|binding| binding["name"] != name.as_str());
        if let Some(secret) = secret {
            secret.check(name)?;
            version.bindings.push(secret.binding(name));
        }
    }
    rules::check_count(&version.bindings)?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(values: &[(&str, &str)]) -> DefaultSecrets {
        let values = values.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        DefaultSecrets { worker: "shop".to_owned(), values: values.collect() }
    }

    /// Returns `NAME=text` of each binding.
    fn texts(bindings: &[Value]) -> Vec<String> {
        let text = |binding: &Value| {
            let text = |field: &str| binding[field].as_str().unwrap_or_default().to_owned();
            format!("{}={}", text("name"), text("text"))
        };
        bindings.iter().map(text).collect()
    }

    #[test]
    fn a_default_applies_until_a_secret_is_set() {
        let keep = |previous: &[Value]| Ok(previous.to_vec());
        let first = with_defaults(&[], Some(&defaults(&[("A", "1"), ("B", "2")])), keep);
        let first = first.expect("bindings");
        assert_eq!(texts(&first), ["A=1", "B=2"]);
        let mut put = first.clone();
        put[1] = json!({ "name": "B", "type": "secret_text", "text": "put" });
        let second = with_defaults(&put, Some(&defaults(&[("A", "3"), ("B", "4")])), keep);
        assert_eq!(texts(&second.expect("bindings")), ["B=put", "A=3"]);
        let third = with_defaults(&put, None, keep).expect("bindings");
        assert_eq!(
            texts(&third),
            ["B=put"],
            "an upload removes a default that the project no longer has"
        );
    }

    #[test]
    fn a_variable_of_the_upload_replaces_a_default() {
        let variable = json!({ "name": "A", "type": "plain_text", "text": "variable" });
        let resolve = |_: &[Value]| Ok(vec![variable]);
        let bindings = with_defaults(&[], Some(&defaults(&[("A", "secret")])), resolve);
        assert_eq!(texts(&bindings.expect("bindings")), ["A=variable"]);
    }

    #[test]
    fn an_inherited_secret_may_be_a_default() {
        let metadata: crate::cloudflare::metadata::UploadMetadata =
            serde_json::from_value(json!({ "bindings": [{ "name": "A", "type": "inherit" }] }))
                .expect("metadata");
        let resolve = |previous: &[Value]| metadata.resolve_bindings(previous);
        let bindings = with_defaults(&[], Some(&defaults(&[("A", "1")])), resolve);
        assert_eq!(texts(&bindings.expect("bindings")), ["A=1"]);
        let missing = with_defaults(&[], None, |previous| metadata.resolve_bindings(previous));
        assert!(missing.is_err());
    }
}
