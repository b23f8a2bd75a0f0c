//! Serves the part of GitLab's API that merge requests, their comments, deployments and environments need
//! (<https://docs.gitlab.com/api/rest/>).

pub mod access;
pub mod changes;
pub mod commits;
pub mod context;
pub mod deployments;
pub mod diffs;
pub mod environments;
pub mod fields;
pub mod files;
pub mod git;
pub mod limits;
pub mod markdown;
pub mod merge_requests;
pub mod model;
pub mod notes;
pub mod paging;
pub mod projects;
pub mod quick_actions;
pub mod read_only;
pub mod response;
pub mod schedules;
pub mod store;
pub mod tokens;
pub mod users;
pub mod variables;

use anyhow::{Result, bail};
use axum::Router;
use axum::extract::OriginalUri;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{any, delete, get, post, put};
use camino::Utf8Path;

use crate::app::App;
use crate::cli::Serve;
use response::GitlabError;

/// The state of the stand-in for GitLab.
#[derive(Debug)]
pub struct GitlabState {
    /// Projects with their merge requests.
    pub store: store::ProjectStore,
    /// The tokens of callers.
    pub tokens: tokens::Tokens,
    /// Rate limits.
    pub limits: limits::RateLimits,
    /// The relative root of the instance, such as `/gitlab`. Empty if it has none.
    pub root: String,
    /// The git repository of the projects. `None` if the sandbox has none.
    pub repository: Option<git::GitRepository>,
}

impl GitlabState {
    /// Opens the state in the folder `state`.
    pub fn open(state: &Utf8Path, options: &Serve) -> Result<GitlabState> {
        Ok(GitlabState {
            store: store::ProjectStore::open(state, options.gitlab_project)?,
            tokens: tokens::Tokens::load(state, options.gitlab_project)?,
            limits: limits::RateLimits::default(),
            root: relative_root(&options.gitlab_root)?,
            repository: git::GitRepository::open(options.gitlab_repository.as_deref())?,
        })
    }

    /// Returns the branches and tags of the git repository. Empty if the sandbox has no repository.
    pub fn refs(&self) -> Result<git::GitRefs> {
        self.repository
            .as_ref()
            .map(git::GitRepository::refs)
            .transpose()
            .map(Option::unwrap_or_default)
    }
}

/// Returns a relative root that is empty or begins with a slash. Errors if it is not valid.
fn relative_root(text: &str) -> Result<String> {
    let root = text.trim_end_matches('/');
    if root.is_empty() {
        return Ok(String::new());
    }
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut parts = root.split('/');
    let is_absolute = parts.next() == Some("");
    if !is_absolute || !parts.clone().all(|part| !part.is_empty() && part.chars().all(is_valid)) {
        bail!("`{text}` is not a relative root; write it like `/gitlab`");
    }
    if matches!(parts.next(), Some("client" | "__sandbox")) {
        bail!("the relative root `{text}` is reserved for the sandbox; choose another one");
    }
    Ok(root.to_owned())
}

/// Returns the routes below `/api/v4`, and below the relative root if there is one.
pub fn routes(app: &App) -> Router<App> {
    let root = &app.gitlab.root;
    let routes = Router::new().nest("/api/v4", api(app));
    if root.is_empty() { routes } else { routes.nest(&format!("{root}/api/v4"), api(app)) }
}

/// Returns the routes of the API.
fn api(app: &App) -> Router<App> {
    Router::new()
        .route("/projects", get(projects::list))
        .nest("/projects/{project}", project_routes())
        .route("/user", get(users::user))
        .route("/personal_access_tokens/self", get(users::token))
        .route("/version", get(users::version))
        .route("/metadata", get(users::version))
        .fallback(any(not_implemented))
        .method_not_allowed_fallback(not_implemented)
        .layer(from_fn_with_state(app.clone(), access::authenticate))
        .layer(from_fn_with_state(app.clone(), limits::throttle))
}

/// The routes below `/projects/{project}`.
fn project_routes() -> Router<App> {
    Router::new()
        .route("/", get(projects::view))
        .route("/merge_requests", get(merge_requests::list).post(merge_requests::create))
        .nest("/merge_requests/{iid}", merge_request_routes())
        .nest("/repository", repository_routes())
        .route("/pipelines", get(read_only::empty_list))
        .route("/pipelines/{pipeline}", get(read_only::missing_item))
        .route("/jobs", get(read_only::empty_list))
        .route("/jobs/{job}", get(read_only::missing_item))
        .route("/deployments", get(deployments::list).post(deployments::create))
        .route("/deployments/{deployment}", get(deployments::view).put(deployments::update))
        .route("/pipeline_schedules", get(schedules::list).post(schedules::create))
        .route("/variables", get(variables::list).post(variables::create))
        .route("/pipeline_schedules/{schedule}", get(schedules::view).delete(schedules::delete))
        .route("/variables/{variable}", get(variables::view).put(variables::update))
        .route("/variables/{variable}", delete(variables::delete))
        .route("/environments", get(environments::list).post(environments::create))
        .route("/environments/{environment}", get(environments::view).delete(environments::delete))
        .route("/environments/{environment}", put(environments::update))
        .route("/environments/{environment}/stop", post(environments::stop))
}

/// The routes below `/projects/{project}/repository`.
fn repository_routes() -> Router<App> {
    Router::new()
        .route("/branches", get(commits::branches))
        .route("/branches/{branch}", get(commits::branch))
        .route("/commits/{commit}", get(commits::view))
        .route("/commits/{commit}/comments", get(commits::comments))
        .route("/commits/{commit}/diff", get(commits::diff))
        .route("/commits/{commit}/statuses", get(commits::statuses))
        .route("/compare", get(commits::compare))
        .route("/files/{file}", get(files::view))
        .route("/files/{file}/raw", get(files::raw))
}

/// The routes below `/projects/{project}/merge_requests/{iid}`.
fn merge_request_routes() -> Router<App> {
    Router::new()
        .route("/", get(merge_requests::view).put(merge_requests::update))
        .route("/merge", put(merge_requests::merge))
        .route("/approvals", get(read_only::approvals))
        .route("/approval_state", get(read_only::approval_state))
        .route("/approval_rules", get(read_only::approval_rules))
        .route("/closes_issues", get(read_only::closes_issues))
        .route("/participants", get(read_only::participants))
        .route("/commits", get(diffs::commits))
        .route("/changes", get(diffs::changes))
        .route("/diffs", get(diffs::list))
        .route("/versions", get(diffs::versions))
        .route("/versions/{version}", get(diffs::version))
        .route("/pipelines", get(read_only::merge_request_pipelines))
        .route("/discussions", get(read_only::discussions))
        .route("/discussions/{discussion}", get(read_only::discussion))
        .route("/notes", get(notes::list).post(notes::create))
        .route("/notes/{note}", get(notes::view).put(notes::update).delete(notes::delete))
}

async fn not_implemented(method: Method, OriginalUri(uri): OriginalUri) -> Response {
    GitlabError::not_implemented(&format!("the route {method} {}", uri.path())).into_response()
}

/// Redirects the `web_url` of a merge request to the merge request on the sandbox's page. `None` if the path
/// is not such a URL.
#[must_use]
pub fn redirect_to_page(app: &App, path: &str) -> Option<Redirect> {
    let (project, iid) = path.split_once("/-/merge_requests/")?;
    let project = project.strip_prefix(&app.gitlab.root)?.trim_start_matches('/');
    let id = app.gitlab.store.find(project)?.id;
    let iid: u64 = iid.trim_end_matches('/').parse().ok()?;
    Some(Redirect::temporary(&format!("/#mr-{id}-{iid}")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn relative_roots_begin_with_a_slash_and_are_not_reserved() {
        for (text, root) in [("", ""), ("/", ""), ("/gitlab", "/gitlab"), ("/a/b-c/", "/a/b-c")] {
            assert_eq!(super::relative_root(text).expect("a root"), root);
        }
        for text in ["gitlab", "/a//b", "/{x}", "/a b", "/client/v4", "/__sandbox"] {
            assert!(super::relative_root(text).is_err(), "{text}");
        }
    }
}
