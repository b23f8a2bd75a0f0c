// The life of a comment through @gitbeaker/rest, unchanged: made, found on a later page, edited, deleted.
import assert from "node:assert/strict";
import { Gitlab } from "@gitbeaker/rest";

const { GITLAB_URL: host, GITLAB_TOKEN: token } = process.env;
assert(host !== undefined && token !== undefined, "GITLAB_URL and GITLAB_TOKEN are not set");
const gitlab = new Gitlab({ host, token });
const project = 12;

const me = await gitlab.Users.showCurrentUser();
const made = await gitlab.MergeRequests.create(project, "feature", "main", "A preview");
const iid = made.iid;
assert.equal((await gitlab.MergeRequests.show(project, iid)).title, "A preview");

const notes = gitlab.MergeRequestNotes;
for (let number = 1; number <= 45; number += 1) await notes.create(project, iid, `note ${number}`);
const all = await notes.all(project, iid, { sort: "asc", perPage: 20 });
assert.deepEqual(
	all.map((note) => note.body),
	Array.from({ length: 45 }, (_, index) => `note ${index + 1}`),
);
assert(all.every((note) => note.author.id === me.id && !note.system));

const { data, paginationInfo } = await notes.all(project, iid, { perPage: 20, page: 2, showExpanded: true });
assert.equal(data.length, 20);
assert.deepEqual(
	{ ...paginationInfo },
	{ total: 45, next: 3, current: 2, previous: 1, perPage: 20, totalPages: 3 },
);

const last = all[44];
assert(last !== undefined);
const edited = await notes.edit(project, iid, last.id, { body: "edited | twice" });
assert.equal(edited.body, "edited | twice");
assert.equal((await notes.show(project, iid, last.id)).body, "edited | twice");
await notes.remove(project, iid, last.id);
assert.equal((await notes.all(project, iid)).length, 44);
await assert.rejects(notes.show(project, iid, last.id), (error: Error) => error.message.includes("404"));

const deployment = await gitlab.Deployments.create(project, "production", "a".repeat(40), "main", false, { status: "success" });
const found = await gitlab.Deployments.all(project, { environment: "production", status: "success", orderBy: "id", sort: "desc", perPage: 1, maxPages: 1 });
assert.equal(found[0]?.id, deployment.id);
const [environment] = await gitlab.Environments.all(project, { name: "production" });
assert(environment !== undefined);
assert.equal((await gitlab.Environments.stop(project, environment.id)).state, "stopped");
assert.equal((await gitlab.MergeRequests.edit(project, iid, { stateEvent: "close" })).state, "closed");
