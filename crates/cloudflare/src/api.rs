//! A client of Cloudflare's API: Workers, versions, deployments, previews.

mod triggers;
mod versions;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::Agent;

use base::deadline;
use base::error::{Error, ErrorContext as _, Result, failed};
use base::http::{self, HttpRequest, HttpResponse};
use base::retry::RetryBudget;
use base::secret::Secret;
use workspace::triggers::digest_in;

pub use triggers::TriggersInUse;
pub use versions::{ListedVersion, MAX_VERSIONS, Metadata};

/// The public URL of the API.
pub const PUBLIC_API: &str = "https://api.cloudflare.com/client/v4";

/// The text after the commit in a version's message if the working tree had uncommitted changes.
pub const DIRTY: &str = " with uncommitted changes";

/// A live version, and the deployment that routes traffic to it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// The version's id.
    pub version: String,
    /// The deployment's id.
    pub deployment: String,
    /// The time of the deployment, RFC 3339.
    pub since: Option<String>,
    /// The version's tag: the content key of its inputs.
    pub tag: Option<String>,
    /// The version's message.
    pub message: Option<String>,
    /// The email address of the author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The digest of the crons, routes, domains and settings that were applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggers: Option<String>,
    /// The versions that share the traffic. Empty if one version gets all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// The handlers that the version's code exports. Empty if the API does not list them.
    #[serde(skip)]
    pub handlers: Vec<String>,
}

impl Live {
    /// Returns true if the API lists handlers of the version's code without `fetch`, as for a Worker
    /// with only crons or queues.
    #[must_use]
    pub fn answers_no_request(&self) -> bool {
        !self.handlers.is_empty() && !self.handlers.iter().any(|handler| handler == "fetch")
    }

    /// Returns the percentage of the traffic that a version gets.
    #[must_use]
    pub fn percentage_of(&self, version: &str) -> f64 {
        match self.shares.iter().find(|share| share.version_id == version) {
            Some(share) => share.percentage,
            None if self.shares.is_empty() && self.version == version => 100.0,
            None => 0.0,
        }
    }

    /// Returns true if it was built from a working tree with uncommitted changes.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.message.as_deref().is_some_and(|message| message.contains(DIRTY))
    }

    /// Returns the commit that it was built from: the first word of the version's message, if that is a commit id.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        commit_in(self.message.as_deref()?)
    }
}

fn commit_in(message: &str) -> Option<&str> {
    let word = message.split(' ').next()?;
    (word.len() >= 40 && word.bytes().all(|b| b.is_ascii_hexdigit())).then_some(word)
}

/// A client for one account.
pub struct Api<'a> {
    base: &'a str,
    account: &'a str,
    token: &'a Secret,
    agent: Agent,
    retry_budget: Option<&'a RetryBudget>,
}

/// The number of deployments that Cloudflare lists.
pub const MAX_DEPLOYMENTS: usize = 10;

/// The deadline of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A variable of a Worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerVariable {
    /// Its name.
    pub name: String,
    /// Its value: a text, or any JSON.
    pub value: Value,
}

impl<'a> Api<'a> {
    /// Creates a client for `account` at `base` that does not retry. The timeout of a request is 15
    /// seconds. Redirects are not followed, because they would send the token to another server.
    #[must_use]
    pub fn new(base: &'a str, account: &'a str, token: &'a Secret) -> Api<'a> {
        let timeout = deadline::within(REQUEST_TIMEOUT).unwrap_or(REQUEST_TIMEOUT);
        Api { base, account, token, agent: http::agent_for(base, timeout, 0), retry_budget: None }
    }

    /// Retries requests within `retry_budget`.
    #[must_use]
    pub fn patient(self, retry_budget: &'a RetryBudget) -> Api<'a> {
        Api { retry_budget: Some(retry_budget), ..self }
    }

    /// Sets the timeout of each request.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Api<'a> {
        let agent = http::agent_for(self.base, timeout, 0);
        Api { agent, ..self }
    }

    /// Returns the kind of an active token. The endpoint for user tokens does not accept account tokens.
    pub fn token_kind(&self) -> Result<&'static str> {
        let account_path = format!("accounts/{}/tokens/verify", self.account);
        let kinds =
            [("user/tokens/verify", "user token"), (account_path.as_str(), "account token")];
        let mut failure = None;
        for (path, kind) in kinds {
            match self.read(path) {
                Ok(Some(token)) if token["status"] == "active" => return Ok(kind),
                Ok(token) => {
                    let status = token.unwrap_or_default()["status"].to_string();
                    failure = Some(failed(format!("the token is {}", http::short(&status))));
                }
                Err(error) if error.find::<ureq::Error>().is_some() => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| failed("Cloudflare knows no such token")))
    }

    /// Returns the version with the largest part of the traffic of `worker`. `None` if the Worker does not
    /// exist or was never deployed.
    pub fn live(&self, worker: &str) -> Result<Option<Live>> {
        let deployments = self.deployments(worker)?;
        let Some(newest) = deployments.first() else {
            return Ok(None);
        };
        let Some(serving) = newest.largest_share() else { return Ok(None) };
        let id = &serving.version_id;
        let found = self.version_document(worker, id)?.unwrap_or_default();
        let handlers = found["resources"]["script"]["handlers"].clone();
        let own: Option<ListedVersion> = serde_json::from_value(found).ok();
        let origin = match own {
            Some(version) if version.is_of_secret() => self.origin(worker, version)?,
            own => own,
        };
        let annotation = |name: &str| origin.as_ref()?.annotation(name).map(str::to_owned);
        let message = annotation("workers/message");
        // Wrangler sets the message of the version on its deployment. Our deployments carry the digest of
        // the triggers. A deployment of a changed secret has no message, so an older one counts.
        let is_of_secret = id.as_str() != origin.as_ref().map_or("", |version| version.id.as_str());
        let messages = deployments.iter().take(if is_of_secret { deployments.len() } else { 1 });
        let mut messages = messages.filter_map(Deployment::message).chain(message.as_deref());
        Ok(Some(Live {
            shares: newest.shares(),
            triggers: messages.find_map(digest_in).map(str::to_owned),
            handlers: serde_json::from_value(handlers).unwrap_or_default(),
            version: serving.version_id.clone(),
            deployment: newest.id.clone(),
            since: newest.created_on.clone(),
            tag: annotation("workers/tag"),
            message,
            author: newest.author_email.clone(),
        }))
    }

    /// Returns the names of all Workers of the account. The API returns them on one page.
    pub fn worker_names(&self) -> Result<Vec<String>> {
        let found = self.get_as("workers/scripts", "list of Workers")?;
        let workers: Vec<NamedWorker> = found.unwrap_or_default();
        Ok(workers.into_iter().map(|worker| worker.id).collect())
    }

    /// Returns the last [`MAX_DEPLOYMENTS`] deployments of `worker` in Cloudflare's order, which does not depend on clocks: the
    /// first one is live
    /// (<https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/deployments/>).
    /// Empty if the Worker does not exist.
    pub fn deployments(&self, worker: &str) -> Result<Vec<Deployment>> {
        let Some(result) = self.get(&format!("workers/scripts/{worker}/deployments"))? else {
            return Ok(Vec::new());
        };
        parse_as(result["deployments"].clone(), "list of deployments")
    }

    /// Returns the names of the secrets of `worker`. Empty if it does not exist.
    pub fn secret_names(&self, worker: &str) -> Result<Vec<String>> {
        let found = self.get(&format!("workers/scripts/{worker}/secrets"))?;
        let secrets: Vec<NamedSecret> = match found {
            Some(found) if !found.is_null() => parse_as(found, "list of secrets")?,
            _ => Vec::new(),
        };
        Ok(secrets.into_iter().map(|secret| secret.name).collect())
    }

    /// Returns the variables of `worker`. Empty if it does not exist
    /// (<https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/settings/>).
    pub fn variables(&self, worker: &str) -> Result<Vec<WorkerVariable>> {
        let Some(settings) = self.get(&format!("workers/scripts/{worker}/settings"))? else {
            return Ok(Vec::new());
        };
        let bindings = settings["bindings"].as_array().into_iter().flatten();
        let variable = |binding: &Value| {
            let value = match binding["type"].as_str()? {
                "plain_text" => binding["text"].clone(),
                "json" => binding["json"].clone(),
                _ => return None,
            };
            Some(WorkerVariable { name: binding["name"].as_str()?.to_owned(), value })
        };
        Ok(bindings.filter_map(variable).collect())
    }

    /// Returns the workers.dev URL of `worker`. `None` if it is off.
    pub fn address(&self, worker: &str) -> Result<Option<String>> {
        let found = self.get(&format!("workers/workers/{worker}"))?.unwrap_or_default();
        let on = found["subdomain"]["enabled"] == true;
        Ok(found["subdomain"]["url"].as_str().filter(|_| on).map(|url| format!("{url}/")))
    }

    /// Returns the suffix of preview host names, which follows an alias or the first 8 digits of a
    /// version. `None` if preview URLs are off.
    pub fn preview_suffix(&self, worker: &str) -> Result<Option<String>> {
        let found = self.get(&format!("workers/workers/{worker}"))?.unwrap_or_default();
        let on = found["subdomain"]["previews_enabled"] == true;
        Ok(found["subdomain"]["preview_url_suffix"].as_str().filter(|_| on).map(str::to_owned))
    }

    /// Splits the traffic of `worker` among versions with these percentages. Retries only if the response proves that
    /// nothing changed. After any other error, the caller must read the live version.
    pub fn deploy(&self, worker: &str, shares: &[(&str, f64)], message: &str) -> Result<()> {
        let share = |(version, percentage): &(&str, f64)| serde_json::json!({ "version_id": version, "percentage": percentage });
        let body = serde_json::json!({
            "strategy": "percentage",
            "versions": shares.iter().map(share).collect::<Vec<_>>(),
            "annotations": { "workers/message": message },
        });
        let path = format!("accounts/{}/workers/scripts/{worker}/deployments", self.account);
        let found = self.send("POST", &path, Some(&body))?;
        found.map(|_| ()).ok_or_else(|| {
            let versions: Vec<&str> = shares.iter().map(|(version, _)| *version).collect();
            let text = format!("Cloudflare knows no version {} of {worker}", versions.join(" or "));
            UnexpectedResponse { status: 404, text }.into()
        })
    }

    /// Returns the Worker Preview called `name`. `None` if it or the Worker does not exist.
    pub fn preview(&self, worker: &str, name: &str) -> Result<Option<Preview>> {
        self.get_as(&format!("workers/workers/{worker}/previews/{name}"), "answer about a preview")
    }

    /// Returns the names of all Worker Previews of `worker`. Empty if the Worker does not exist.
    pub fn preview_names(&self, worker: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        // At most 500 (<https://developers.cloudflare.com/workers/previews/limitations/>).
        for page in 1..=5 {
            let path = format!("workers/workers/{worker}/previews?per_page=100&page={page}");
            let found = self.get_as(&path, "list of previews")?;
            let Some(found): Option<Vec<Preview>> = found else { break };
            let last = found.len() < 100;
            names.extend(found.into_iter().map(|preview| preview.name));
            if last {
                break;
            }
        }
        Ok(names)
    }

    /// Returns the live deployment of a preview. `None` if it has none.
    pub fn preview_deployment(
        &self,
        worker: &str,
        preview: &str,
    ) -> Result<Option<PreviewDeployment>> {
        let path = format!("workers/workers/{worker}/previews/{preview}/deployments/latest");
        self.get_as(&path, "answer about a preview")
    }

    /// Deletes the preview called `name` with its deployments. Returns true if it existed. Retries like a
    /// read, because a deletion is idempotent.
    pub fn delete_preview(&self, worker: &str, name: &str) -> Result<bool> {
        let path = format!("accounts/{}/workers/workers/{worker}/previews/{name}", self.account);
        Ok(self.send("DELETE", &path, None)?.is_some())
    }

    /// Returns the `result` of a GET below the account. `None` if the Worker or version
    /// does not exist (codes 10007, 10090 and 100146), the preview (10025), or a deployment of it (10222).
    /// 100146 is from <https://github.com/alchemy-run/distilled>, whose errors were captured from the API.
    fn get(&self, path: &str) -> Result<Option<Value>> {
        self.read(&format!("accounts/{}/{path}", self.account))
    }

    /// Returns the `result` of a GET below the account as a `T`, which errors call `what`. `None` as for [`Api::get`].
    fn get_as<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<Option<T>> {
        self.get(path)?.map(|found| parse_as(found, what)).transpose()
    }

    /// Returns a page of a list below the account. `None` as for [`Api::get`].
    fn get_page(&self, path: &str) -> Result<Option<ListPage>> {
        let found = self.send("GET", &format!("accounts/{}/{path}", self.account), None)?;
        Ok(found.map(|Envelope { result, result_info, .. }| ListPage {
            result,
            size: result_info.and_then(|info| info.per_page),
        }))
    }

    /// Returns the `result` of a GET anywhere in the API.
    fn read(&self, path: &str) -> Result<Option<Value>> {
        Ok(self.send("GET", path, None)?.map(|envelope| envelope.result))
    }

    /// Sends a request anywhere in the API. One without a body is idempotent, so every transient error is retried.
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Option<Envelope>> {
        let url = format!("{}/{path}", self.base);
        let bearer = format!("Bearer {}", self.token.expose());
        let headers = [("Authorization", bearer.as_str())];
        let send = || {
            let body = body.map(Value::to_string);
            let request = HttpRequest { method, url: &url, headers: &headers, body };
            http::send(&self.agent, request, http::BODY_LIMIT)
        };
        let response = match self.retry_budget {
            None => send(),
            Some(retry_budget) if body.is_none() => retry_budget.read("Cloudflare", send),
            Some(retry_budget) => retry_budget.change("Cloudflare", send),
        };
        let response = response.with_context(|| format!("cannot reach {}", self.base))?;
        envelope(method, path, &response)
    }
}

/// Returns the envelope of a successful response. `None` if the requested thing does not exist.
pub(super) fn envelope(
    method: &str,
    path: &str,
    response: &HttpResponse,
) -> Result<Option<Envelope>> {
    let unexpected = |detail: &str| {
        let wait = response.retry_after.map(|wait| format!("; retry after {} s", wait.as_secs()));
        let wait = wait.unwrap_or_default();
        let text = format!("{method} {path} answered {}{detail}{wait}", response.status);
        UnexpectedResponse { status: response.status, text }
    };
    let envelope: Envelope = serde_json::from_slice(&response.body)
        .map_err(|_| unexpected(" with something that is not JSON"))?;
    if envelope.success {
        return Ok(Some(envelope));
    }
    if envelope
        .errors
        .iter()
        .any(|error| matches!(error.code, 10_007 | 10_025 | 10_090 | 10_222 | 100_146))
    {
        return Ok(None);
    }
    let messages: Vec<String> =
        envelope.errors.iter().map(|e| format!("{} [code {}]", e.message, e.code)).collect();
    Err(unexpected(&format!(": {}", http::short(&messages.join(", ")))).into())
}

/// Parses a part of a response. Errors if it does not match the API's description.
pub(super) fn parse_as<T: DeserializeOwned>(value: Value, what: &str) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        let error = http::short(&error.to_string());
        failed(format!("Cloudflare's {what} has an unexpected shape: {error}"))
    })
}

/// An unexpected response.
#[derive(Debug)]
pub struct UnexpectedResponse {
    /// The status.
    pub status: u16,
    text: String,
}

impl fmt::Display for UnexpectedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for UnexpectedResponse {}

impl From<UnexpectedResponse> for Error {
    fn from(error: UnexpectedResponse) -> Error {
        Error::from_source(error)
    }
}

/// Returns the next step after a request that failed.
#[must_use]
pub fn next_step(error: &Error) -> &'static str {
    let response = error.find::<UnexpectedResponse>();
    match response.map(|response| response.status) {
        Some(401 | 403) => {
            "check the token, what it may do, and the account id: `cargo xtask doctor`"
        }
        Some(404) => {
            "check the account id with `cargo xtask doctor`, and what is live with `cargo xtask status`"
        }
        Some(429) => "Cloudflare limits requests for up to five minutes: run it again after that",
        Some(500..) => "see https://www.cloudflarestatus.com, and run it again later",
        Some(_) => "check with `cargo xtask doctor` that no proxy answers instead of Cloudflare",
        None => "check the network (`cargo xtask doctor`), and run it again",
    }
}

/// A secret in the API's list, which has no values.
#[derive(Deserialize)]
struct NamedSecret {
    name: String,
}

/// A Worker in the API's list. Its id is its name.
#[derive(Deserialize)]
struct NamedWorker {
    id: String,
}

/// A Worker Preview.
#[derive(Clone, Debug, Deserialize)]
pub struct Preview {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its URLs. Empty if preview URLs are off.
    #[serde(default)]
    pub urls: Vec<String>,
}

/// A deployment of a Worker Preview.
#[derive(Clone, Debug, Deserialize)]
pub struct PreviewDeployment {
    /// Its id.
    pub id: String,
    /// The time of its creation, RFC 3339.
    #[serde(default)]
    pub created_on: Option<String>,
    /// Its URLs. Empty if preview URLs are off.
    #[serde(default)]
    pub urls: Vec<String>,
    /// `workers/tag`, `workers/message`.
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
}

impl PreviewDeployment {
    /// Returns its tag: the content key of its inputs.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.annotations.get("workers/tag")?.as_str()
    }
}

/// The form of every response.
#[derive(Deserialize)]
pub(super) struct Envelope {
    success: bool,
    #[serde(default)]
    errors: Vec<EnvelopeError>,
    #[serde(default)]
    pub(super) result: Value,
    #[serde(default)]
    result_info: Option<ResultInfo>,
}

/// The description of a page of a list.
#[derive(Deserialize)]
struct ResultInfo {
    #[serde(default)]
    per_page: Option<usize>,
}

/// A page of a list.
struct ListPage {
    result: Value,
    /// The number of items of a full page. `None` if the API does not name it.
    size: Option<usize>,
}

#[derive(Deserialize)]
struct EnvelopeError {
    code: i64,
    message: String,
}

/// A deployment in the API's list.
#[derive(Clone, Debug, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The time of its creation, RFC 3339.
    pub created_on: Option<String>,
    /// The author of the deployment.
    pub author_email: Option<String>,
    /// `workers/message`.
    #[serde(default)]
    pub annotations: BTreeMap<String, Value>,
    /// The versions, each with its share of the traffic.
    #[serde(default)]
    pub versions: Vec<Share>,
}

impl Deployment {
    /// Returns its message. `None` if it has none.
    fn message(&self) -> Option<&str> {
        self.annotations.get("workers/message")?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns the version with the largest part of the traffic.
    fn largest_share(&self) -> Option<&Share> {
        self.versions.iter().max_by(|a, b| a.percentage.total_cmp(&b.percentage))
    }

    /// Returns the versions that share the traffic. Empty if one version gets all of it.
    fn shares(&self) -> Vec<Share> {
        let shares = self.versions.iter().filter(|share| share.percentage > 0.0);
        let shares: Vec<Share> = shares.cloned().collect();
        if shares.len() > 1 { shares } else { Vec::new() }
    }
}

/// A version's part of the traffic.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Share {
    /// The version's id.
    #[serde(rename(serialize = "version"))]
    #[serde(alias = "version")]
    pub version_id: String,
    /// Percent.
    pub percentage: f64,
}

impl Share {
    /// Formats a share: `10 % 5d06ec86`.
    #[must_use]
    pub fn words(&self) -> String {
        let id = base::text::short_version(&self.version_id);
        format!("{} % {id}", self.percentage)
    }
}
