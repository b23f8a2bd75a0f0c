//! The writes of `setup` as a POSIX shell script, for its dry run.

use camino::Utf8Path;

use super::inputs::{GITLAB_TOKEN, PipelineToken, variable_of};
use super::{GitlabSettings, SCHEDULE, environment_of};
use base::command::{heredoc, preamble, quote};
use base::error::Result;
use deployment::plan::destination::Destination;
use gitlab::api::schedules::CRON;
use gitlab::api::variables::{variable_path, variables_path};
use workspace::config::{CONFIG_FILE, Config};

/// A function that writes a token as curl's config reads it.
const ESCAPE: &str = "# curl reads the credentials from its input, so that no other process sees them.\n\
    escape() { printf %s \"$1\" | sed 's/[\\\\\"]/\\\\&/g'; }\n";

/// A request without its credentials.
const CURL: &str = "curl --fail --silent --show-error --output /dev/null --config -";

/// The parts of the script.
pub(super) struct SetupScript<'a> {
    pub root: &'a Utf8Path,
    pub config: &'a Config,
    /// The config with the ids. `None` if it has them.
    pub config_text: Option<&'a str>,
    /// The port of the sandbox that verifies the tokens of Cloudflare.
    pub port: Option<u16>,
    pub tokens: &'a [PipelineToken<'a>],
    pub gitlab: Option<&'a GitlabSettings<'a>>,
    /// The steps that a person does.
    pub remaining: &'a [String],
}

impl SetupScript<'_> {
    /// Returns the script. Each step sees the credentials that it sends, and no others.
    pub fn text(&self) -> Result<String> {
        let mut text = format!("#!/bin/sh\n# setup of {}\n", self.config.gitlab.url);
        text += &preamble(self.root);
        text += ESCAPE;
        for token in self.tokens {
            text += &self.verification(token)?;
        }
        if let Some(config) = self.config_text {
            text += &format!("\n# ids\ncat > {CONFIG_FILE} {}", heredoc(config));
        }
        if let Some(gitlab) = self.gitlab {
            for token in self.tokens {
                text += &self.variable(gitlab, token);
            }
            if let Some(branch) = gitlab.branch.as_ref().filter(|_| !gitlab.has_schedule) {
                text += &self.schedule(gitlab, branch);
            }
        }
        text += "\n# left to do\n";
        for (number, line) in self.remaining.iter().enumerate() {
            text += &format!("# {}. {line}\n", number + 1);
        }
        Ok(text)
    }

    /// Reads something with a token.
    fn verification(&self, token: &PipelineToken<'_>) -> Result<String> {
        let (row, name) = (token.row, variable_of(token.row));
        let (header, url) = if row.name == self.config.gitlab.token_variable {
            (
                format!("PRIVATE-TOKEN: {}", escape(&name)),
                format!("{}/user", self.config.gitlab.api()),
            )
        } else {
            let environment = environment_of(self.config, row);
            let to = Destination::to_read(self.config, &environment, self.port)?;
            let url = format!("{}/accounts/{}/workers/scripts", to.api, to.account_id);
            (format!("Authorization: Bearer {}", escape(&name)), url)
        };
        let title = format!("{} for {} is accepted", row.name, row.scope);
        Ok(step(&title, &[&name], &quote(&url), &[format!("header = \"{header}\"")]))
    }

    fn variable(&self, gitlab: &GitlabSettings<'_>, token: &PipelineToken<'_>) -> String {
        let (row, name) = (token.row, variable_of(token.row));
        let replaces = gitlab.has_variable(row);
        let mut fields =
            vec![format!("protected={}", row.protected), format!("masked={}", row.masked)];
        fields.push("raw=true".to_owned());
        let (method, path) = if replaces {
            ("PUT", variable_path(&gitlab.project, row))
        } else {
            fields.insert(0, format!("key={}", row.name));
            fields.insert(1, format!("environment_scope={}", row.scope));
            fields.push(format!("masked_and_hidden={}", row.masked));
            ("POST", variables_path(&gitlab.project))
        };
        let verb = if replaces { "replaces" } else { "creates" };
        let title = format!("{verb} the variable {} for {}", row.name, row.scope);
        let request = self.request(method, &fields, &path);
        let secrets = [
            format!("header = \"PRIVATE-TOKEN: {}\"", escape(GITLAB_TOKEN)),
            format!("data-urlencode = \"value={}\"", escape(&name)),
        ];
        step(&title, &[GITLAB_TOKEN, &name], &request, &secrets)
    }

    fn schedule(&self, gitlab: &GitlabSettings<'_>, branch: &str) -> String {
        let fields = [
            format!("description={SCHEDULE}"),
            format!("ref=refs/heads/{branch}"),
            format!("cron={CRON}"),
            "cron_timezone=UTC".to_owned(),
            "active=true".to_owned(),
        ];
        let path = format!("/projects/{}/pipeline_schedules", gitlab.project);
        let request = self.request("POST", &fields, &path);
        let header = format!("header = \"PRIVATE-TOKEN: {}\"", escape(GITLAB_TOKEN));
        step("creates the nightly schedule", &[GITLAB_TOKEN], &request, &[header])
    }

    /// Returns the arguments of a request to GitLab.
    fn request(&self, method: &str, fields: &[String], path: &str) -> String {
        let mut text = format!("--request {method}");
        for field in fields {
            text += &format!(" \\\n    --data-urlencode {}", quote(field));
        }
        text + " \\\n    " + &quote(&format!("{}{path}", self.config.gitlab.api()))
    }
}

/// Returns the text that the shell replaces by the escaped value of a variable.
fn escape(variable: &str) -> String {
    format!("$(escape \"${variable}\")")
}

/// Returns one request. Its credentials are written to curl's input, so that no other process sees them.
fn step(title: &str, variables: &[&str], request: &str, secrets: &[String]) -> String {
    format!(
        "\n# {title}\n(\n  only {}\n  {CURL} {request} <<CURL\n{}\nCURL\n)\n",
        variables.join(" "),
        secrets.join("\n")
    )
}
