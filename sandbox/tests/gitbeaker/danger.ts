// What Danger reads of merge request 42, by the same calls of @gitbeaker/rest
// (https://github.com/danger/danger-js, `source/platforms/gitlab/GitLabAPI.ts`).
import assert from "node:assert/strict";
import { Gitlab } from "@gitbeaker/rest";

const { GITLAB_URL: host, GITLAB_TOKEN: token } = process.env;
assert(host !== undefined && token !== undefined, "GITLAB_URL and GITLAB_TOKEN are not set");
const gitlab = new Gitlab({ host, token });
const project = 12;
const iid = 42;

const mergeRequest = await gitlab.MergeRequests.show(project, iid);
const head = mergeRequest.diff_refs.head_sha;
const approvals = await gitlab.MergeRequestApprovals.showConfiguration(project, { mergerequestIId: iid });
assert("approvals_left" in approvals && approvals.approvals_left === 0);
const diffs = await gitlab.MergeRequests.allDiffs(project, iid);
assert.deepEqual(
	diffs.map((diff) => diff.new_path),
	["README.md", "data.bin", "gone", "src/new.ts"],
);
const commits = await gitlab.MergeRequests.allCommits(project, iid);
assert.deepEqual(
	commits.map((commit) => commit.title),
	["Move", "Change"],
);
assert.equal(commits[0]?.id, head);
assert.deepEqual(await gitlab.MergeRequestDiscussions.all(project, iid), []);
assert.deepEqual(await gitlab.MergeRequestNotes.all(project, iid), []);
const file = await gitlab.RepositoryFiles.show(project, "src/new.ts", head);
assert.equal(Buffer.from(file.content, "base64").toString(), "export const a = 1;\nexport const b = 2;\n");
await assert.rejects(gitlab.RepositoryFiles.show(project, "none", head), (error: Error & { cause?: { response?: Response } }) => error.cause?.response?.status === 404);
const compared = await gitlab.Repositories.compare(project, mergeRequest.diff_refs.base_sha, head);
assert.equal(compared.diffs?.length, 4);
// Danger adds a label like this.
assert.deepEqual((await gitlab.MergeRequests.edit(project, iid, { labels: "danger" })).labels, ["danger"]);
