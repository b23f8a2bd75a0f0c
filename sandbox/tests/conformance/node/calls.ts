// Calls of Cloudflare's library for JavaScript against a sandbox. Prints one JSON line a call.

import { deepStrictEqual as same, rejects } from "node:assert";

import Cloudflare, { toFile } from "cloudflare";

const account = { account_id: process.env["ACCOUNT"] ?? "" };
const api = new Cloudflare({
	apiToken: process.env["SANDBOX_TOKEN"] ?? "",
	baseURL: `${process.env["SANDBOX_URL"]}/client/v4`,
	maxRetries: 0,
});
const scripts = api.workers.scripts;
const code = "export default { fetch: () => new Response('hi') }";
const flows = `import { WorkflowEntrypoint } from "cloudflare:workers";
export class Flow extends WorkflowEntrypoint { async run(event, step) { await step.sleep("long", "1 hour"); } }
${code}`;
const kept: Record<string, string> = {};

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
	const found: T[] = [];
	for await (const one of pages) found.push(one);
	return found;
}

async function upload(name: string, fields: object = {}, text: string = code) {
	const file = await toFile(Buffer.from(text), "main.js", { type: "application/javascript+module" });
	const metadata = { main_module: "main.js", compatibility_date: "2026-01-01", ...fields };
	return scripts.update(name, { ...account, metadata, files: [file] });
}

const calls: [string, () => Promise<unknown>][] = [
	["user.get", () => api.user.get()],
	["accounts.list", async () => same((await all(api.accounts.list())).length, 1)],
	["memberships.list", async () => same((await all(api.memberships.list())).length, 1)],
	["workers.scripts.update", async () => same((await upload("node")).id, "node")],
	["workers.scripts.list", async () => same((await all(scripts.list(account))).map(({ id }) => id), ["node"])],
	["workers.scripts.update, refused", () =>
		rejects(upload("bad", { bindings: [{ type: "service", name: "S", service: "missing" }] }), Cloudflare.BadRequestError)],
	["workers.scripts.schedules", async () => {
		await scripts.schedules.update("node", { ...account, body: [{ cron: "0 * * * *" }] });
		same((await scripts.schedules.get("node", account)).schedules[0]?.cron, "0 * * * *");
	}],
	["workers.scripts.secrets", async () => {
		await scripts.secrets.update("node", { ...account, name: "SECRET", text: "hush", type: "secret_text" });
		same((await all(scripts.secrets.list("node", account))).map(({ name }) => name), ["SECRET"]);
	}],
	["workers.scripts.versions.list", async () => same((await all(scripts.versions.list("node", account))).length, 2)],
	["kv.namespaces.create", async () => { kept["kv"] = (await api.kv.namespaces.create({ ...account, title: "node" })).id; }],
	["kv.namespaces.values", async () => {
		await api.kv.namespaces.values.update("key", { ...account, namespace_id: kept["kv"] ?? "", value: await toFile(Buffer.from("one"), "value") });
		const found = await api.kv.namespaces.values.get("key", { ...account, namespace_id: kept["kv"] ?? "" });
		same(await found.text(), "one");
	}],
	["d1.database", async () => {
		const { uuid } = await api.d1.database.create({ ...account, name: "node" });
		const [found] = await all(api.d1.database.query(uuid ?? "", { ...account, sql: "SELECT 1 AS one" }));
		same(found?.results, [{ one: 1 }]);
	}],
	["r2.buckets.create", async () => same((await api.r2.buckets.create({ ...account, name: "node-files" })).location, "weur")],
	["queues.create", async () => same((await api.queues.create({ ...account, queue_name: "node" })).queue_name, "node")],
	["queues.messages and queues.purge", async () => {
		const queue = (await all(api.queues.list(account)))[0]?.queue_id ?? "";
		const { consumer_id } = (await api.queues.consumers.create(queue, { ...account, type: "http_pull" })) as { consumer_id: string };
		await api.queues.messages.push(queue, { ...account, body: "one", content_type: "text" });
		const { messages = [] } = (await api.queues.messages.pull(queue, account)) as { messages?: { body?: string; lease_id?: string }[] };
		same(messages.map(({ body }) => body), ["one"]);
		same((await api.queues.messages.ack(queue, { ...account, acks: messages.map(({ lease_id = "" }) => ({ lease_id })) })).ackCount, 1);
		same((await api.queues.purge.start(queue, { ...account, delete_messages_permanently: true })).queue_name, "node");
		await api.queues.consumers.delete(consumer_id, { ...account, queue_id: queue });
	}],
	["zones.get", async () => {
		const [zone] = await all(api.zones.list({ name: "example.com" }));
		same((await api.zones.get({ zone_id: zone?.id ?? "" })).name, "example.com");
	}],
	["workers.accountSettings", async () => {
		await api.workers.accountSettings.update({ ...account, green_compute: true });
		same((await api.workers.accountSettings.get(account)).green_compute, true);
	}],
	["workers.scripts.content.get", async () => same((await (await scripts.content.get("node", account)).text()).includes("fetch"), true)],
	["workers.scripts.tail", async () => {
		const { id } = await scripts.tail.create("node", account);
		same((await scripts.tail.get("node", account)).id, id);
		await scripts.tail.delete(id, { ...account, script_name: "node" });
	}],
	["workers.scripts.settings", async () => {
		await scripts.settings.edit("node", { ...account, logpush: true, tags: ["team"] });
		const { logpush, tags } = await scripts.settings.get("node", account);
		same([logpush, tags], [true, ["team"]]);
	}],
	["workers.scripts.assets.upload", async () => {
		const session = await scripts.assets.upload.create("node", { ...account, manifest: { "/a.txt": { hash: "0".repeat(32), size: 1 } } });
		same(session.buckets, [["0".repeat(32)]]);
	}],
	["workflows.list", async () => same((await all(api.workflows.list(account))).length, 0)],
	["workflows.update", async () => {
		await upload("flows", { main_module: "main.js" }, flows);
		same((await api.workflows.update("flow", { ...account, script_name: "flows", class_name: "Flow" })).name, "flow");
	}],
	["workflows.instances.create", async () => same((await api.workflows.instances.create("flow", { ...account, instance_id: "one" })).id, "one")],
	["workflows.instances.bulk", async () => same((await all(api.workflows.instances.bulk("flow", { ...account, body: [{ instance_id: "two" }, {}] }))).length, 2)],
	["workflows.instances.list", async () => same((await all(api.workflows.instances.list("flow", account))).length, 3)],
	["workflows.instances.get", async () => same((await api.workflows.instances.get("one", { ...account, workflow_name: "flow" })).status, "running")],
	["workflows.instances.status.edit", async () => {
		await api.workflows.instances.status.edit("one", { ...account, workflow_name: "flow", status: "terminate" });
		same((await api.workflows.instances.get("one", { ...account, workflow_name: "flow" })).status, "terminated");
	}],
	["workflows.instances.get, missing", () =>
		rejects(api.workflows.instances.get("none", { ...account, workflow_name: "flow" }), Cloudflare.NotFoundError)],
	["durableObjects.namespaces.list", async () => same(await all(api.durableObjects.namespaces.list(account)), [])],
	["vectorize.indexes.list", () => rejects(all(api.vectorize.indexes.list(account)), /does not have Vectorize/)],
	["workers.beta.workers.versions.list", async () => {
		const { id } = await api.workers.beta.workers.get("node", account);
		same((await all(api.workers.beta.workers.versions.list(id, account))).length > 1, true);
	}],
	["workers.beta.workers.get", async () => same((await api.workers.beta.workers.get("node", account)).name, "node")],
	["workers.scripts.delete", () => scripts.delete("node", account)],
	["workers.scripts.settings.get, missing", () => rejects(scripts.settings.get("node", account), Cloudflare.NotFoundError)],
];

for (const [call, run] of calls) {
	const line = await run().then(
		() => ({ passed: true }),
		(error: unknown) => ({ passed: false, why: String(error).slice(0, 1000) }),
	);
	console.log(JSON.stringify({ client: "cloudflare (npm)", call, ...line }));
}
