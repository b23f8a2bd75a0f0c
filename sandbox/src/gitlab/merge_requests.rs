//! Reads and changes merge requests (<https://docs.gitlab.com/api/merge_requests/>).

use std::time::SystemTime;

use serde_json::{Value, json};

use super::changes::{MergeRequestAction, apply, is_draft};
use super::context::{RequestContext, find_merge_request, find_merge_request_mut};
use super::diffs::{DiffRefs, diff_refs};
use super::fields::{RequestFields, parse_time};
use super::git::GitRefs;
use super::markdown::render;
use super::model::{MergeRequestState, StoredMergeRequest, StoredProject, StoredUser};
use super::notes::add_system_notes;
use super::paging::sort_rows;
use super::projects::web_url;
use super::response::{GitlabError, GitlabResult, created_response, ok_response};
use super::store::now;
use super::tokens::{UserRole, user};
use super::users::user_json;
use crate::app::App;
use crate::serve::error_pages::escape;

/// The filters of lists that the sandbox supports.
const FILTERS: [&str; 19] = [
    "assignee_id",
    "assignee_username",
    "author_id",
    "author_username",
    "created_after",
    "created_before",
    "iids",
    "in",
    "labels",
    "milestone",
    "scope",
    "search",
    "source_branch",
    "state",
    "target_branch",
    "updated_after",
    "updated_before",
    "with_labels_details",
    "wip",
];

/// `GET /projects/{project}/merge_requests`
pub async fn list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&FILTERS)?;
    if fields.flag("with_labels_details") {
        return Err(GitlabError::not_implemented("`with_labels_details=true`"));
    }
    let filter = MergeRequestFilter::read(&fields, &request.caller.user)?;
    let mut selected: Vec<&StoredMergeRequest> = project
        .merge_requests
        .iter()
        .filter(|merge_request| filter.is_selected(merge_request))
        .collect();
    let order = fields.choice("order_by", &["created_at", "updated_at", "title", "merged_at"])?;
    match order.as_deref() {
        Some("updated_at") => {
            selected.sort_by_key(|merge_request| (&merge_request.updated_at, merge_request.id));
        }
        Some("title") => {
            selected.sort_by_key(|merge_request| (&merge_request.title, merge_request.id));
        }
        Some("merged_at") => {
            selected.sort_by_key(|merge_request| {
                (merge_request.ended.as_ref().map(|(at, _)| at), merge_request.id)
            });
        }
        _ => {}
    }
    sort_rows(&mut selected, &fields, "desc")?;
    let refs = request.app.gitlab.refs()?;
    request.page(&fields, &selected, |merge_request| {
        merge_request_json(&request.app, &project, merge_request, &refs).ok()
    })
}

/// The conditions for the merge requests of a list. `None` selects all.
struct MergeRequestFilter {
    state: Option<String>,
    iids: Option<Vec<String>>,
    source: Option<String>,
    target: Option<String>,
    /// The time after and the time before, inclusive.
    created: (Option<SystemTime>, Option<SystemTime>),
    updated: (Option<SystemTime>, Option<SystemTime>),
    /// The text in lower case, and whether to search the title and the description.
    search: Option<(String, bool, bool)>,
    labels: Option<Vec<String>>,
    author: Option<String>,
    author_id: Option<u64>,
    assignee: Option<String>,
    assignee_id: Option<String>,
    draft: Option<bool>,
    milestone: Option<String>,
}

impl MergeRequestFilter {
    fn read(
        fields: &RequestFields,
        caller: &StoredUser,
    ) -> Result<MergeRequestFilter, GitlabError> {
        let state = fields.choice("state", &["opened", "closed", "merged", "all", "locked"])?;
        let scopes = ["all", "created_by_me", "created-by-me", "assigned_to_me", "assigned-to-me"];
        let scope = fields.choice("scope", &scopes)?.map(|scope| scope.replace('-', "_"));
        let caller_in =
            |expected: &str| (scope.as_deref() == Some(expected)).then(|| caller.username.clone());
        let search_fields =
            fields.list("in").unwrap_or_else(|| vec!["title".into(), "description".into()]);
        let searches = |field: &str| search_fields.iter().any(|name| name == field);
        let search = fields
            .text("search")
            .filter(|text| !text.is_empty())
            .map(|text| (text.to_lowercase(), searches("title"), searches("description")));
        let draft = fields.choice("wip", &["yes", "no"])?.map(|wip| wip == "yes");
        Ok(MergeRequestFilter {
            state: state.filter(|state| state != "all"),
            iids: fields.list("iids"),
            source: fields.text("source_branch"),
            target: fields.text("target_branch"),
            created: (fields.time("created_after")?, fields.time("created_before")?),
            updated: (fields.time("updated_after")?, fields.time("updated_before")?),
            search,
            labels: fields.list("labels"),
            author: fields.text("author_username").or(caller_in("created_by_me")),
            author_id: fields.number("author_id")?,
            assignee: fields.text("assignee_username").or(caller_in("assigned_to_me")),
            assignee_id: fields.text("assignee_id"),
            draft,
            milestone: fields.text("milestone"),
        })
    }

    fn is_selected(&self, merge_request: &StoredMergeRequest) -> bool {
        fn equals<T: PartialEq>(expected: Option<&T>, value: &T) -> bool {
            expected.is_none_or(|expected| expected == value)
        }
        let has_labels = self.labels.as_ref().is_none_or(|labels| match labels.as_slice() {
            [only] if only.eq_ignore_ascii_case("none") => merge_request.labels.is_empty(),
            [only] if only.eq_ignore_ascii_case("any") => !merge_request.labels.is_empty(),
            labels => labels.iter().all(|label| merge_request.labels.contains(label)),
        });
        let contains = |text: &str, expected: &str| text.to_lowercase().contains(expected);
        let has_text = self.search.as_ref().is_none_or(|(text, in_title, in_description)| {
            (*in_title && contains(&merge_request.title, text))
                || (*in_description && contains(&merge_request.description, text))
        });
        let has_assignee =
            self.assignee_id.as_ref().is_none_or(|expected| match expected.as_str() {
                "None" | "0" => merge_request.assignees.is_empty(),
                "Any" => !merge_request.assignees.is_empty(),
                id => {
                    merge_request.assignees.iter().any(|name| user(name, name).id.to_string() == id)
                }
            });
        // The sandbox has no milestones.
        let has_milestone = self.milestone.as_ref().is_none_or(|name| name == "None");
        equals(self.source.as_ref(), &merge_request.source_branch)
            && equals(self.target.as_ref(), &merge_request.target_branch)
            && equals(self.author.as_ref(), &merge_request.author.username)
            && equals(self.author_id.as_ref(), &merge_request.author.id)
            && equals(self.draft.as_ref(), &is_draft(&merge_request.title))
            && self.state.as_ref().is_none_or(|state| json!(merge_request.state) == json!(state))
            && self.iids.as_ref().is_none_or(|iids| iids.contains(&merge_request.iid.to_string()))
            && self.assignee.as_ref().is_none_or(|name| merge_request.assignees.contains(name))
            && is_between(&merge_request.created_at, self.created)
            && is_between(&merge_request.updated_at, self.updated)
            && has_labels
            && has_text
            && has_assignee
            && has_milestone
    }
}

/// Returns whether a time is between two others, inclusive. A missing limit does not restrict it.
fn is_between(text: &str, (after, before): (Option<SystemTime>, Option<SystemTime>)) -> bool {
    let time = parse_time(text);
    after.is_none_or(|after| time >= Some(after))
        && before.is_none_or(|before| time <= Some(before))
}

/// `POST /projects/{project}/merge_requests`. Unlike GitLab it accepts an `iid`, so that a test
/// can create the merge request that its pipeline's variables name.
pub async fn create(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let refs = request.app.gitlab.refs()?;
    request.create(UserRole::Reporter, |draft| {
        fields.require(&["title", "source_branch", "target_branch"])?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let requested_iid = fields.number("iid")?;
        let source_project = fields.number("source_project_id")?.unwrap_or(draft.project.id);
        let is_same_branch = text("source_branch") == text("target_branch");
        if is_same_branch && source_project == draft.project.id {
            let message = "You can't use same project/branch for source and target";
            return Err(GitlabError::message(422, json!([message])));
        }
        let all = &draft.project.merge_requests;
        let duplicate = all.iter().find(|other| {
            other.state == MergeRequestState::Open
                && other.source_branch == text("source_branch")
                && other.target_branch == text("target_branch")
        });
        if let Some(duplicate) = duplicate {
            let message = format!(
                "Another open merge request already exists for this source branch: !{}",
                duplicate.iid
            );
            return Err(GitlabError::message(409, json!([message])));
        }
        if requested_iid.is_some_and(|iid| iid == 0 || draft.project.merge_request(iid).is_some()) {
            return Err(GitlabError::message(409, json!(["iid has already been taken"])));
        }
        let iid = requested_iid
            .unwrap_or_else(|| all.iter().map(|other| other.iid).max().unwrap_or(0) + 1);
        let created_at = now();
        let merge_request = StoredMergeRequest {
            id: draft.id(),
            iid,
            title: text("title"),
            description: text("description"),
            state: MergeRequestState::Open,
            source_branch: text("source_branch"),
            target_branch: text("target_branch"),
            source_project,
            author: request.caller.user.clone(),
            assignees: Vec::new(),
            approved_by: Vec::new(),
            labels: fields.list("labels").unwrap_or_default(),
            locked: false,
            sha: text("sha"),
            ended: None,
            created_at: created_at.clone(),
            updated_at: created_at,
            notes: Vec::new(),
        };
        let document = merge_request_json(&request.app, &draft.project, &merge_request, &refs)?;
        draft.project.merge_requests.push(merge_request);
        Ok(created_response(document))
    })
}

/// `GET /projects/{project}/merge_requests/{iid}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    fields.require_known(&[
        "include_diverged_commits_count",
        "include_rebase_in_progress",
        "render_html",
    ])?;
    let merge_request = find_merge_request(&project, request.item())?;
    let refs = request.app.gitlab.refs()?;
    let mut document = merge_request_json(&request.app, &project, merge_request, &refs)?;
    // `glab mr view` sends this parameter.
    if fields.flag("render_html") {
        document["title_html"] = json!(escape(&merge_request.title));
        document["description_html"] = json!(render(&merge_request.description));
    }
    if fields.flag("include_diverged_commits_count") {
        let repository = request.app.gitlab.repository.as_ref();
        let commits = diff_refs(&request.app, &refs, &project, merge_request)?;
        document["diverged_commits_count"] = json!(match (repository, commits) {
            (Some(repository), Some(commits)) => repository.count(&commits.head, &commits.start)?,
            _ => 0,
        });
    }
    if fields.flag("include_rebase_in_progress") {
        document["rebase_in_progress"] = json!(false);
    }
    Ok(ok_response(document))
}

/// `PUT /projects/{project}/merge_requests/{iid}`
pub async fn update(request: RequestContext, fields: RequestFields) -> GitlabResult {
    request.caller.require_role(UserRole::Reporter)?;
    let event = fields.choice("state_event", &["close", "reopen"])?;
    let event = event.map(|event| {
        if event == "close" { MergeRequestAction::Close } else { MergeRequestAction::Reopen }
    });
    let actions = [
        event,
        fields.text("title").map(MergeRequestAction::Title),
        fields.list("labels").map(MergeRequestAction::Relabel),
        fields.list("add_labels").map(MergeRequestAction::Label),
        fields
            .list("remove_labels")
            .filter(|names| !names.is_empty())
            .map(MergeRequestAction::Unlabel),
    ];
    let actions: Vec<MergeRequestAction> = actions.into_iter().flatten().collect();
    let supported =
        ["title", "description", "labels", "add_labels", "remove_labels", "state_event"];
    let unsupported = [
        "allow_collaboration",
        "assignee_id",
        "assignee_ids",
        "discussion_locked",
        "milestone_id",
        "remove_source_branch",
        "reviewer_ids",
        "squash",
        "target_branch",
    ];
    if let Some(name) = unsupported.iter().find(|name| fields.has(name)) {
        return Err(GitlabError::not_implemented(&format!("the parameter `{name}` of an update")));
    }
    if !supported.iter().any(|name| fields.has(name)) {
        let names: Vec<&str> = unsupported.iter().chain(&supported).copied().collect();
        let text =
            format!("{} are missing, at least one parameter must be provided", names.join(", "));
        return Err(GitlabError::error(400, &text));
    }
    change(&request, &actions, fields.text("description"))
}

/// `PUT /projects/{project}/merge_requests/{iid}/merge`
pub async fn merge(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    let merge_request = find_merge_request(&project, request.item())?;
    let head = head(&request.app.gitlab.refs()?, &project, merge_request);
    if fields.text("sha").is_some_and(|expected| expected != head) {
        let text = format!("SHA does not match HEAD of source branch: {head}");
        return Err(GitlabError::message(409, text));
    }
    if request.caller.role < UserRole::Developer {
        return Err(GitlabError::invalid_token());
    }
    if merge_request.state != MergeRequestState::Open || is_draft(&merge_request.title) {
        return Err(GitlabError::message(405, "405 Method Not Allowed"));
    }
    change(&request, &[MergeRequestAction::Merge], None)
}

fn change(
    request: &RequestContext,
    actions: &[MergeRequestAction],
    description: Option<String>,
) -> GitlabResult {
    let refs = request.app.gitlab.refs()?;
    request.change(UserRole::Guest, |draft| {
        let merge_request = find_merge_request_mut(&mut draft.project, request.item())?;
        let applied = apply(merge_request, actions, &request.caller);
        if let Some(description) = description {
            merge_request.description = description;
        }
        merge_request.updated_at = now();
        add_system_notes(draft, request.item(), &applied.system_notes, &request.caller.user)?;
        let merge_request = find_merge_request(&draft.project, request.item())?;
        Ok(ok_response(merge_request_json(&request.app, &draft.project, merge_request, &refs)?))
    })
}

/// Returns the URL of a merge request's web page.
#[must_use]
pub fn merge_request_url(
    app: &App,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
) -> String {
    format!("{}/-/merge_requests/{}", web_url(app, project), merge_request.iid)
}

/// Returns the newest commit of the source branch, from the client or from the git repository. `None` if neither
/// has it. The branches of a fork are not in the repository.
#[must_use]
pub fn known_head(
    refs: &GitRefs,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
) -> Option<String> {
    if !merge_request.sha.is_empty() {
        return Some(merge_request.sha.clone());
    }
    refs.branches
        .get(&merge_request.source_branch)
        .filter(|_| merge_request.source_project == project.id)
        .cloned()
}

/// Returns the newest commit of the source branch. Generates a hash if it is unknown.
fn head(refs: &GitRefs, project: &StoredProject, merge_request: &StoredMergeRequest) -> String {
    let generated =
        || generated_hash(&format!("{} {}", merge_request.id, merge_request.source_branch));
    known_head(refs, project, merge_request).unwrap_or_else(generated)
}

/// Returns a hash of 40 digits that depends only on `text`.
fn generated_hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..40].to_owned()
}

/// Returns a merge request in the API's format. `refs` are the branches of the git repository.
pub fn merge_request_json(
    app: &App,
    project: &StoredProject,
    merge_request: &StoredMergeRequest,
    refs: &GitRefs,
) -> Result<Value, GitlabError> {
    let mut document = common_json(app, project, merge_request);
    let commits = diff_refs(app, refs, project, merge_request)?.unwrap_or_else(|| {
        let base = generated_hash(&format!("{} {}", project.id, merge_request.target_branch));
        DiffRefs { base: base.clone(), start: base, head: head(refs, project, merge_request) }
    });
    let details = details_json(merge_request, &commits);
    for (name, value) in details.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    Ok(document)
}

/// Returns the fields that describe a merge request, its users and its state.
fn common_json(app: &App, project: &StoredProject, merge_request: &StoredMergeRequest) -> Value {
    let users_json = |names: &[String]| -> Vec<Value> {
        names.iter().map(|name| user_json(app, &user(name, name))).collect()
    };
    let assignees = users_json(&merge_request.assignees);
    let (at, by) = match &merge_request.ended {
        Some((at, by)) => (json!(at), user_json(app, by)),
        None if merge_request.state == MergeRequestState::Open => (Value::Null, Value::Null),
        // Earlier versions of the sandbox did not store the end.
        None => (json!(merge_request.updated_at), Value::Null),
    };
    let if_state = |state, value: &Value| {
        if merge_request.state == state { value.clone() } else { Value::Null }
    };
    let (merged, closed) = (MergeRequestState::Merged, MergeRequestState::Closed);
    let draft = is_draft(&merge_request.title);
    let reference = format!("!{}", merge_request.iid);
    json!({
        "id": merge_request.id, "iid": merge_request.iid, "project_id": project.id,
        "title": merge_request.title, "description": merge_request.description,
        "state": merge_request.state, "created_at": merge_request.created_at,
        "updated_at": merge_request.updated_at, "merged_at": if_state(merged, &at),
        "closed_at": if_state(closed, &at), "merged_by": if_state(merged, &by),
        "merge_user": if_state(merged, &by), "closed_by": if_state(closed, &by),
        "source_branch": merge_request.source_branch, "target_branch": merge_request.target_branch,
        "source_project_id": merge_request.source_project, "target_project_id": project.id,
        "author": user_json(app, &merge_request.author), "assignee": assignees.first(),
        "assignees": assignees, "reviewers": [], "labels": merge_request.labels, "milestone": null,
        "draft": draft, "work_in_progress": draft, "discussion_locked": merge_request.locked,
        "has_conflicts": false, "merge_status": "can_be_merged",
        "detailed_merge_status": if draft { "draft_status" } else { "mergeable" },
        "user_notes_count": merge_request.notes.iter().filter(|note| !note.system).count(),
        "references": { "short": reference, "relative": reference,
            "full": format!("{}{reference}", project.path) },
        "web_url": merge_request_url(app, project, merge_request),
    })
}

/// Returns the fields about commits, and those of features that the sandbox lacks.
fn details_json(merge_request: &StoredMergeRequest, commits: &DiffRefs) -> Value {
    let is_merged = merge_request.state == MergeRequestState::Merged;
    let merge_commit = is_merged.then(|| generated_hash(&format!("merge of {}", merge_request.id)));
    json!({
        "sha": commits.head,
        "diff_refs": { "base_sha": commits.base, "head_sha": commits.head, "start_sha": commits.start },
        "merge_commit_sha": merge_commit, "squash_commit_sha": null,
        "head_pipeline": null, "pipeline": null, "squash": false, "squash_on_merge": false,
        "merge_when_pipeline_succeeds": false, "should_remove_source_branch": null,
        "force_remove_source_branch": false, "allow_collaboration": false, "upvotes": 0,
        "downvotes": 0, "changes_count": null, "blocking_discussions_resolved": true,
        "task_completion_status": { "count": 0, "completed_count": 0 }, "merge_error": null,
        "time_stats": { "time_estimate": 0, "total_time_spent": 0, "human_time_estimate": null,
            "human_total_time_spent": null },
        "user": { "can_merge": true }, "first_contribution": false, "subscribed": false,
        "prepared_at": merge_request.created_at, "imported": false, "imported_from": "none",
        "latest_build_started_at": null, "latest_build_finished_at": null,
        "first_deployed_to_production_at": null,
    })
}
