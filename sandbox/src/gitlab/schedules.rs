//! Reads, creates and deletes pipeline schedules (<https://docs.gitlab.com/api/pipeline_schedules/>). They start
//! nothing, because the sandbox has no pipelines.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::context::{RequestContext, position};
use super::fields::RequestFields;
use super::model::StoredSchedule;
use super::response::{GitlabError, GitlabResult, created_response, ok_response};
use super::store::now;
use super::tokens::UserRole;
use super::users::user_json;
use crate::app::App;

/// The ranges of the five fields of a cron expression. Sunday is 0 and 7.
const RANGES: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];

/// The names that GitLab accepts for months and weekdays.
const NAMES: [&str; 19] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sun",
    "mon", "tue", "wed", "thu", "fri", "sat",
];

/// `GET /projects/{project}/pipeline_schedules`
pub async fn list(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    request.caller.require_role(UserRole::Developer)?;
    fields.require_known(&["scope"])?;
    let scope = fields.choice("scope", &["active", "inactive"])?;
    let is_selected = |schedule: &&StoredSchedule| {
        scope.as_ref().is_none_or(|scope| (scope == "active") == schedule.active)
    };
    let schedules: Vec<&StoredSchedule> = project.schedules.iter().filter(is_selected).collect();
    request.page(&fields, &schedules, |schedule| Some(schedule_json(&request.app, schedule)))
}

/// `POST /projects/{project}/pipeline_schedules`
pub async fn create(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let owner = request.caller.user.clone();
    request.create(UserRole::Developer, |draft| {
        fields.require(&["description", "ref", "cron"])?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        let refusal = |field: &str, problem: &str| {
            Err(GitlabError::message(400, json!({ field: [problem] })))
        };
        if text("description").trim().is_empty() {
            return refusal("description", "can't be blank");
        }
        if text("ref").trim().is_empty() {
            return refusal("ref", "can't be blank");
        }
        if !is_cron(&text("cron")) {
            return refusal("cron", "syntax is invalid");
        }
        let timezone = fields.text("cron_timezone").unwrap_or_else(|| "UTC".to_owned());
        if !timezone.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return refusal("cron_timezone", "syntax is invalid");
        }
        let reference = text("ref");
        let schedule = StoredSchedule {
            id: draft.id(),
            description: text("description"),
            reference: match reference.starts_with("refs/") {
                true => reference,
                false => format!("refs/heads/{reference}"),
            },
            cron: text("cron"),
            cron_timezone: timezone,
            active: fields.text("active").is_none_or(|active| active == "true"),
            owner,
            created_at: now(),
        };
        let document = schedule_json(&request.app, &schedule);
        draft.project.schedules.push(schedule);
        Ok(created_response(document))
    })
}

/// `GET /projects/{project}/pipeline_schedules/{schedule}`
pub async fn view(request: RequestContext, fields: RequestFields) -> GitlabResult {
    let project = request.project()?;
    request.caller.require_role(UserRole::Developer)?;
    fields.require_known(&[])?;
    let index = position(&project.schedules, request.item(), |one| one.id)?;
    let mut document = schedule_json(&request.app, &project.schedules[index]);
    document["last_pipeline"] = Value::Null;
    document["variables"] = json!([]);
    Ok(ok_response(document))
}

/// `DELETE /projects/{project}/pipeline_schedules/{schedule}`. Only its owner or a maintainer may delete it.
pub async fn delete(request: RequestContext) -> GitlabResult {
    request.change(UserRole::Developer, |draft| {
        let schedules = &mut draft.project.schedules;
        let index = position(schedules, request.item(), |one| one.id)?;
        let is_owner = schedules[index].owner == request.caller.user;
        if !is_owner && request.caller.role < UserRole::Maintainer {
            return Err(GitlabError::forbidden());
        }
        schedules.remove(index);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// Returns whether a text is a cron expression of five fields.
fn is_cron(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    fields.len() == RANGES.len()
        && fields
            .iter()
            .zip(RANGES)
            .all(|(field, range)| field.split(',').all(|part| is_part(part, range)))
}

/// Returns whether `part` is a value, a span or `*`, with an optional step.
fn is_part(part: &str, (first, last): (u32, u32)) -> bool {
    let (span, step) = part.split_once('/').map_or((part, None), |(span, step)| (span, Some(step)));
    let is_value = |text: &str| {
        NAMES.contains(&text.to_ascii_lowercase().as_str())
            || text.parse::<u32>().is_ok_and(|number| (first..=last).contains(&number))
    };
    let is_span = span == "*"
        || span.split_once('-').map_or_else(|| is_value(span), |(a, b)| is_value(a) && is_value(b));
    is_span && step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0))
}

fn schedule_json(app: &App, schedule: &StoredSchedule) -> Value {
    json!({
        "id": schedule.id, "description": schedule.description, "ref": schedule.reference, "cron": schedule.cron,
        "cron_timezone": schedule.cron_timezone, "next_run_at": null, "active": schedule.active,
        "created_at": schedule.created_at, "updated_at": schedule.created_at, "owner": user_json(app, &schedule.owner),
    })
}

#[cfg(test)]
mod tests {
    use super::is_cron;

    #[test]
    fn cron_expressions_have_five_fields_in_their_ranges() {
        for text in ["17 3 * * *", "*/5 0-6 1,15 jan-mar mon", "0 0 31 12 7"] {
            assert!(is_cron(text), "{text}");
        }
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "@daily",
            "a * * * *",
        ] {
            assert!(!is_cron(text), "{text}");
        }
    }
}
