//! Reads and changes merge requests (<https://docs.gitlab.com/api/merge_requests/>).

use std::time::SystemTime;

use serde_json::{Value, json};

use super::answer::{Answer, Refusal, created, ok};
use super::changes::{Action, apply, is_draft};
use super::fields::{Fields, time};
use super::model::{self, MergeRequest, Project, User};
use super::notes::say;
use super::paging::turn;
use super::place::{Place, merge_request, merge_request_mut};
use super::projects::web_url;
use super::store::now;
use super::tokens::{Role, user};
use super::users::basic;
use crate::app::App;

/// The filters of a list that the sandbox knows.
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
pub async fn list(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    fields.only(&FILTERS)?;
    if fields.flag("with_labels_details") {
        return Err(Refusal::unknown("`with_labels_details=true`"));
    }
    let filter = Filter::read(&fields, &at.caller.user)?;
    let mut found: Vec<&MergeRequest> =
        project.merge_requests.iter().filter(|one| filter.fits(one)).collect();
    let order = fields.choice("order_by", &["created_at", "updated_at", "title", "merged_at"])?;
    match order.as_deref() {
        Some("updated_at") => found.sort_by_key(|one| (&one.updated_at, one.id)),
        Some("title") => found.sort_by_key(|one| (&one.title, one.id)),
        Some("merged_at") => {
            found.sort_by_key(|one| (one.ended.as_ref().map(|(at, _)| at), one.id));
        }
        _ => {}
    }
    turn(&mut found, &fields, "desc")?;
    at.page(&fields, &found, |one| Some(shown(&at.app, &project, one)))
}

/// The merge requests that a list is of.
struct Filter {
    state: Option<String>,
    iids: Option<Vec<String>>,
    source: Option<String>,
    target: Option<String>,
    created: (Option<SystemTime>, Option<SystemTime>),
    updated: (Option<SystemTime>, Option<SystemTime>),
    search: Option<(String, bool, bool)>,
    labels: Option<Vec<String>>,
    author: Option<String>,
    author_id: Option<u64>,
    assignee: Option<String>,
    assignee_id: Option<String>,
    draft: Option<bool>,
    milestone: Option<String>,
}

impl Filter {
    fn read(fields: &Fields, caller: &User) -> Result<Filter, Refusal> {
        let state = fields.choice("state", &["opened", "closed", "merged", "all", "locked"])?;
        let scopes = ["all", "created_by_me", "created-by-me", "assigned_to_me", "assigned-to-me"];
        let scope = fields.choice("scope", &scopes)?.map(|scope| scope.replace('-', "_"));
        let own =
            |wanted: &str| (scope.as_deref() == Some(wanted)).then(|| caller.username.clone());
        let places =
            fields.list("in").unwrap_or_else(|| vec!["title".into(), "description".into()]);
        let within = |place: &str| places.iter().any(|one| one == place);
        let search = fields
            .text("search")
            .filter(|text| !text.is_empty())
            .map(|text| (text.to_lowercase(), within("title"), within("description")));
        let draft = fields.choice("wip", &["yes", "no"])?.map(|wip| wip == "yes");
        Ok(Filter {
            state: state.filter(|state| state != "all"),
            iids: fields.list("iids"),
            source: fields.text("source_branch"),
            target: fields.text("target_branch"),
            created: (fields.time("created_after")?, fields.time("created_before")?),
            updated: (fields.time("updated_after")?, fields.time("updated_before")?),
            search,
            labels: fields.list("labels"),
            author: fields.text("author_username").or(own("created_by_me")),
            author_id: fields.number("author_id")?,
            assignee: fields.text("assignee_username").or(own("assigned_to_me")),
            assignee_id: fields.text("assignee_id"),
            draft,
            milestone: fields.text("milestone"),
        })
    }

    fn fits(&self, one: &MergeRequest) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, value: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == value)
        }
        let labelled = self.labels.as_ref().is_none_or(|labels| match labels.as_slice() {
            [only] if only.eq_ignore_ascii_case("none") => one.labels.is_empty(),
            [only] if only.eq_ignore_ascii_case("any") => !one.labels.is_empty(),
            labels => labels.iter().all(|label| one.labels.contains(label)),
        });
        let holds = |text: &str, wanted: &str| text.to_lowercase().contains(wanted);
        let found = self.search.as_ref().is_none_or(|(text, in_title, in_description)| {
            (*in_title && holds(&one.title, text))
                || (*in_description && holds(&one.description, text))
        });
        let assigned = self.assignee_id.as_ref().is_none_or(|wanted| match wanted.as_str() {
            "None" | "0" => one.assignees.is_empty(),
            "Any" => !one.assignees.is_empty(),
            id => one.assignees.iter().any(|name| user(name, name).id.to_string() == id),
        });
        // There are no milestones here.
        let milestone = self.milestone.as_ref().is_none_or(|name| name == "None");
        is(self.source.as_ref(), &one.source_branch)
            && is(self.target.as_ref(), &one.target_branch)
            && is(self.author.as_ref(), &one.author.username)
            && is(self.author_id.as_ref(), &one.author.id)
            && is(self.draft.as_ref(), &is_draft(&one.title))
            && self.state.as_ref().is_none_or(|state| json!(one.state) == json!(state))
            && self.iids.as_ref().is_none_or(|iids| iids.contains(&one.iid.to_string()))
            && self.assignee.as_ref().is_none_or(|name| one.assignees.contains(name))
            && within(&one.created_at, self.created)
            && within(&one.updated_at, self.updated)
            && labelled
            && found
            && assigned
            && milestone
    }
}

/// Whether a time is between two others, these included.
fn within(text: &str, (after, before): (Option<SystemTime>, Option<SystemTime>)) -> bool {
    let at = time(text);
    after.is_none_or(|after| at >= Some(after)) && before.is_none_or(|before| at <= Some(before))
}

/// `POST /projects/{project}/merge_requests`. Unlike GitLab it takes an `iid` as well, so that a
/// test can have the number that its pipeline's variables name.
pub async fn create(at: Place, fields: Fields) -> Answer {
    at.make(Role::Reporter, |draft| {
        fields.require(&["title", "source_branch", "target_branch"])?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let wanted = fields.number("iid")?;
        let source_project = fields.number("source_project_id")?.unwrap_or(draft.project.id);
        let is_same = text("source_branch") == text("target_branch");
        if is_same && source_project == draft.project.id {
            let said = "You can't use same project/branch for source and target";
            return Err(Refusal::message(422, json!([said])));
        }
        let all = &draft.project.merge_requests;
        let same = all.iter().find(|one| {
            one.state == model::State::Opened
                && one.source_branch == text("source_branch")
                && one.target_branch == text("target_branch")
        });
        if let Some(same) = same {
            let said = format!(
                "Another open merge request already exists for this source branch: !{}",
                same.iid
            );
            return Err(Refusal::message(409, json!([said])));
        }
        if wanted.is_some_and(|iid| iid == 0 || draft.project.merge_request(iid).is_some()) {
            return Err(Refusal::message(409, json!(["iid has already been taken"])));
        }
        let iid = wanted.unwrap_or_else(|| all.iter().map(|one| one.iid).max().unwrap_or(0) + 1);
        let time = now();
        let one = MergeRequest {
            id: draft.id(),
            iid,
            title: text("title"),
            description: text("description"),
            state: model::State::Opened,
            source_branch: text("source_branch"),
            target_branch: text("target_branch"),
            source_project,
            author: at.caller.user.clone(),
            assignees: Vec::new(),
            approved_by: Vec::new(),
            labels: fields.list("labels").unwrap_or_default(),
            locked: false,
            sha: text("sha"),
            ended: None,
            created_at: time.clone(),
            updated_at: time,
            notes: Vec::new(),
        };
        let answer = shown(&at.app, &draft.project, &one);
        draft.project.merge_requests.push(one);
        Ok(created(answer))
    })
}

/// `GET /projects/{project}/merge_requests/{iid}`
pub async fn view(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    fields.only(&[])?;
    Ok(ok(shown(&at.app, &project, merge_request(&project, at.item())?)))
}

/// `PUT /projects/{project}/merge_requests/{iid}`
pub async fn update(at: Place, fields: Fields) -> Answer {
    at.caller.at_least(Role::Reporter)?;
    let event = fields.choice("state_event", &["close", "reopen"])?;
    let event = event.map(|event| if event == "close" { Action::Close } else { Action::Reopen });
    let actions = [
        event,
        fields.text("title").map(Action::Title),
        fields.list("labels").map(Action::Relabel),
        fields.list("add_labels").map(Action::Label),
        fields.list("remove_labels").filter(|names| !names.is_empty()).map(Action::Unlabel),
    ];
    let actions: Vec<Action> = actions.into_iter().flatten().collect();
    let known = ["title", "description", "labels", "add_labels", "remove_labels", "state_event"];
    let others = [
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
    if let Some(other) = others.iter().find(|name| fields.has(name)) {
        return Err(Refusal::unknown(&format!("the parameter `{other}` of an update")));
    }
    if !known.iter().any(|name| fields.has(name)) {
        let names: Vec<&str> = others.iter().chain(&known).copied().collect();
        let text =
            format!("{} are missing, at least one parameter must be provided", names.join(", "));
        return Err(Refusal::error(400, &text));
    }
    change(&at, &actions, fields.text("description"))
}

/// `PUT /projects/{project}/merge_requests/{iid}/merge`
pub async fn merge(at: Place, fields: Fields) -> Answer {
    let project = at.project()?;
    let one = merge_request(&project, at.item())?;
    if fields.text("sha").is_some_and(|wanted| wanted != head(one)) {
        let said = format!("SHA does not match HEAD of source branch: {}", head(one));
        return Err(Refusal::message(409, said));
    }
    if at.caller.role < Role::Developer {
        return Err(Refusal::unauthorized());
    }
    if one.state != model::State::Opened || is_draft(&one.title) {
        return Err(Refusal::message(405, "405 Method Not Allowed"));
    }
    change(&at, &[Action::Merge], None)
}

fn change(at: &Place, actions: &[Action], description: Option<String>) -> Answer {
    at.change(Role::Guest, |draft| {
        let one = merge_request_mut(&mut draft.project, at.item())?;
        let done = apply(one, actions, &at.caller);
        if let Some(description) = description {
            one.description = description;
        }
        one.updated_at = now();
        say(draft, at.item(), &done.system, &at.caller.user)?;
        let one = merge_request(&draft.project, at.item())?;
        Ok(ok(shown(&at.app, &draft.project, one)))
    })
}

/// Returns a merge request's address for people.
#[must_use]
pub fn address(app: &App, project: &Project, one: &MergeRequest) -> String {
    format!("{}/-/merge_requests/{}", web_url(app, project), one.iid)
}

/// Returns the newest commit of the source branch. There is no repository here, so that it is made up
/// unless the client gave one.
fn head(one: &MergeRequest) -> String {
    if one.sha.is_empty() {
        made_up(&format!("{} {}", one.id, one.source_branch))
    } else {
        one.sha.clone()
    }
}

fn made_up(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..40].to_owned()
}

fn shown(app: &App, project: &Project, one: &MergeRequest) -> Value {
    let people = |names: &[String]| -> Vec<Value> {
        names.iter().map(|name| basic(app, &user(name, name))).collect()
    };
    let assignees = people(&one.assignees);
    let (at, by) = match &one.ended {
        Some((at, by)) => (json!(at), basic(app, by)),
        // Ended before this was kept.
        None if one.state == model::State::Opened => (Value::Null, Value::Null),
        None => (json!(one.updated_at), Value::Null),
    };
    let of = |state, value: &Value| if one.state == state { value.clone() } else { Value::Null };
    let (merged, closed) = (model::State::Merged, model::State::Closed);
    let base = made_up(&format!("{} {}", project.id, one.target_branch));
    let merge_commit = json!(made_up(&format!("merge of {}", one.id)));
    let draft = is_draft(&one.title);
    let mut shown = json!({
        "id": one.id, "iid": one.iid, "project_id": project.id, "title": one.title,
        "description": one.description, "state": one.state, "created_at": one.created_at,
        "updated_at": one.updated_at, "merged_at": of(merged, &at), "closed_at": of(closed, &at),
        "merged_by": of(merged, &by), "merge_user": of(merged, &by), "closed_by": of(closed, &by),
        "source_branch": one.source_branch, "target_branch": one.target_branch,
        "source_project_id": one.source_project, "target_project_id": project.id,
        "author": basic(app, &one.author), "assignee": assignees.first(), "assignees": assignees,
        "reviewers": [], "labels": one.labels, "milestone": null, "draft": draft,
        "work_in_progress": draft, "discussion_locked": one.locked, "has_conflicts": false,
        "merge_status": "can_be_merged",
        "detailed_merge_status": if draft { "draft_status" } else { "mergeable" },
        "user_notes_count": one.notes.iter().filter(|note| !note.system).count(),
        "references": { "short": format!("!{}", one.iid), "relative": format!("!{}", one.iid),
            "full": format!("{}!{}", project.path, one.iid) },
        "web_url": address(app, project, one),
    });
    let head = head(one);
    let more = json!({
        "sha": head, "diff_refs": { "base_sha": base, "head_sha": head, "start_sha": base },
        "merge_commit_sha": of(merged, &merge_commit), "squash_commit_sha": null,
        "head_pipeline": null, "pipeline": null, "squash": false, "squash_on_merge": false,
        "merge_when_pipeline_succeeds": false, "should_remove_source_branch": null,
        "force_remove_source_branch": false, "allow_collaboration": false, "upvotes": 0,
        "downvotes": 0, "changes_count": null, "blocking_discussions_resolved": true,
        "task_completion_status": { "count": 0, "completed_count": 0 }, "merge_error": null,
        "time_stats": { "time_estimate": 0, "total_time_spent": 0, "human_time_estimate": null,
            "human_total_time_spent": null },
        "user": { "can_merge": true }, "first_contribution": false, "subscribed": false,
        "prepared_at": one.created_at, "imported": false, "imported_from": "none",
        "latest_build_started_at": null, "latest_build_finished_at": null,
        "first_deployed_to_production_at": null,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        shown[name] = value.clone();
    }
    shown
}
