// Runs the uploaded versions of the sandbox in workerd, through miniflare.
//
// The sandbox starts this program on Bun. The argument is the folder of miniflare's and workerd's
// packages. Commands arrive as lines of JSON on stdin. Replies and events are lines of JSON on stdout.
// Everything else goes to stderr. The program exits when its stdin ends, so it never outlives the sandbox.
//
// A group consists of the Workers that must share a workerd process, because they call each other or share a
// Durable Object, a queue or a workflow. Most groups have one member. Loading a group does not
// interrupt another one.

import "./broker.ts";
import "./retry.ts";

import { Database } from "bun:sqlite";
import { readdir, rm } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { type Fields, withDatabase } from "./hyperdrive.ts";

type Module = { type: string; path: string };

/** A Worker of a group, at one of its versions. */
type Member = {
	/** Unique in the group. Bindings use this name. */
	name: string;
	/** The Worker and the version, for the logs. */
	worker: string;
	version: string;
	/** The account of the Worker. */
	account: string;
	compatibilityDate: string;
	compatibilityFlags: string[];
	/** The entry module. Absent for a Worker with only assets. */
	mainModule?: string;
	/** Present if the version has methods that other Workers can call. */
	rpc?: { hasDefault: boolean; events: string[] };
	/** The names of the exports that workerd can load. Present if there are others. */
	loadable?: string[];
	modules: Record<string, Module>;
	env: Record<string, Fields>;
	exports: Record<string, Fields>;
	triggers: Fields[];
	/** The workflows to which the Worker has no binding. */
	workflows: Fields[];
	tailConsumers: { worker: string }[];
	assets?: {
		directory: string;
		htmlHandling?: string;
		notFoundHandling?: string;
		runWorkerFirst?: boolean | string[];
	};
};

type Group = {
	/** Unique among the loaded groups. */
	name: string;
	members: Member[];
	/** The queues, with the delay of a message that the API sends. */
	queues: { name: string; deliveryDelay?: number }[];
	/** The queues that no Worker consumes. The sandbox stores their messages. */
	queuesWithoutWorker: string[];
	/** The queues that are paused at the start. */
	pausedQueues: string[];
	/** The folder of the stored data. */
	data: string;
	/** Groups that must stop first, because they use the same storage. */
	after: string[];
	/** `true` if a group that used the same storage may still be stopping. */
	isStateful: boolean;
};

type Command = { load: Group; id: number } | { tail: boolean; id: number } | { unload: string; folder: string };

type Exception = { name: string; message: string; stack?: string; timestamp: number };

/** workerd's report of one invocation of a Worker. */
type Trace = { outcome: string; logs: { message: unknown }[]; exceptions: Exception[]; eventTimestamp?: number; [field: string]: unknown };

/** An error that a method threw to its caller in another Worker or object. */
type RpcError = { member: string; name: string; message: string; stack: string; time: number; isShown: boolean };

const packages = Bun.argv[2] ?? "node_modules";
/** Loads a file of a package. The path becomes a URL, because a folder's name may have a question mark. */
const fromPackages = (path: string) => import(pathToFileURL(`${packages}/${path}`).href);
const { Miniflare, Log, LogLevel, Response: MiniflareResponse } = await fromPackages("miniflare/dist/src/index.js");
const { compatibilityDate: newest } = await fromPackages("workerd/lib/main.js");
const { TraceMap, originalPositionFor } = await fromPackages("@jridgewell/trace-mapping/dist/trace-mapping.mjs");

/** workerd's error if another process opens the same data at the same time (observed with workerd 1.20261117). */
const BUSY = /SQLITE_BUSY|database is locked/;

/** The maximum number of attempts to start a group while others open the same data. */
const MAX_ATTEMPTS = 10;

const IDLE = "export default { fetch: () => new Response('This Worker has no code.', { status: 404 }) };";

/** The helper Workers. The name of a deployed Worker has no `@`. */
const EDGE = "@edge";
const TAIL = "@tail";
const STUB = "@stub";
const QUEUES = "@queues";

/**
 * Receives every request of a group and forwards it to the member that a header names. The sandbox
 * removes these headers from requests of clients. An exception becomes a response with a separate
 * header, from which the sandbox creates an error page.
 */
const EDGE_CODE = `
const report = (error) => {
  const text = JSON.stringify({ name: error?.name ?? "Error", message: String(error?.message ?? error) });
  return new Response(null, { status: 500, headers: { "mf-sandbox-error": encodeURIComponent(text) } });
};
export default {
  async fetch(request, env) {
    const headers = new Headers(request.headers);
    const member = env[headers.get("mf-sandbox-member")];
    const command = headers.get("mf-sandbox-command");
    for (const name of ["mf-sandbox-member", "mf-sandbox-command"]) headers.delete(name);
    if (command === "cron") {
      const { cron, time } = await request.json();
      return Response.json(await member.scheduled({ cron, scheduledTime: new Date(time) }));
    }
    if (command === "resume") {
      const { workflow, ids } = await request.json();
      // Any event makes a stopped instance continue.
      const resume = async (id) => (await env["@workflow " + workflow].get(id)).sendEvent({ type: "sandbox-resume", payload: null });
      return Response.json(await Promise.allSettled(ids.map(resume)));
    }
    if (command === "queue") return env["@queues"].fetch(request);
    if (command === "tail") return env["@tail"]?.fetch(request) ?? new Response();
    try {
      return await member.fetch(new Request(request, { headers }));
    } catch (error) {
      return report(error);
    }
  },
};`;

/** Forwards workerd's reports of a member: all while a client tails, else only those with output or a failure. */
const TAIL_CODE = `
import { WorkerEntrypoint } from "cloudflare:workers";
let isTailed = false;
const isNotable = (one) => one.logs.length > 0 || one.exceptions.length > 0 || one.outcome !== "ok";
export default class extends WorkerEntrypoint {
  async fetch(request) {
    isTailed = await request.json();
    return new Response();
  }
  async tail(traces) {
    const selected = isTailed ? traces : traces.filter(isNotable);
    if (selected.length === 0) return;
    const body = JSON.stringify({ ...this.ctx.props, traces: selected });
    await this.env.HOST.fetch("http://host/", { method: "POST", body });
  }
}`;

/** Replaces a binding that has no local form. Every use of it throws the reason. */
const STUB_CODE = `
import { WorkerEntrypoint } from "cloudflare:workers";
export default class extends WorkerEntrypoint {
  constructor(ctx, env) {
    super(ctx, env);
    const text = ctx.props.text;
    return new Proxy(this, {
      get(target, name) {
        if (typeof name === "symbol" || name === "then" || name === "constructor") return Reflect.get(target, name);
        return () => { throw new Error(text); };
      },
    });
  }
}`;

/** Sends miniflare's log to the sandbox's log instead of stdout. */
class StderrLog extends Log {
	override log(message: string): void {
		console.error(message);
	}
}

function send(line: object): void {
	process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Returns a date that workerd accepts: at most its newest date, and not in the future. */
function clamp(date: string): string {
	const today = new Date().toISOString().slice(0, 10);
	return [date, newest as string, today].sort()[0] ?? date;
}

/** Watches the methods that other Workers can call. */
const RPC_CODE = await Bun.file(`${import.meta.dir}/rpc.js`).text();
const RPC_MODULE = "sandbox-rpc.js";
const RPC_MARKER = "sandbox-rpc:";

/** The maximum number of stored errors of a group. */
const MAX_RPC_ERRORS = 100;

/** The time to wait for the report of an error in milliseconds. */
const MAX_REPORT_WAIT = 500;

/** Forwards the messages of queues. */
const QUEUES_CODE = await Bun.file(`${import.meta.dir}/queues.js`).text();

/** Creates a helper Worker. */
const helperWorker = (name: string, code: string, env: Record<string, object> = {}, triggers: object[] = []) => ({
	config: {
		name,
		compatibilityDate: clamp("2026-01-01"),
		compatibilityFlags: ["service_binding_extra_handlers", "experimental"],
		manifest: { mainModule: "main.js", modulesRoot: `/${name}`, modules: { "main.js": { type: "esm", contents: code } } },
		env,
		triggers,
	},
	dev: { unsafeRegisterWorker: false },
});

/** Returns miniflare's options of a member, with its code. */
async function worker(member: Member): Promise<object> {
	const modules: Record<string, { type: string; contents: string | Uint8Array }> = {};
	for (const [name, { type, path }] of Object.entries(member.modules)) {
		const file = Bun.file(path);
		const isText = ["esm", "cjs", "text", "json", "sourcemap"].includes(type);
		modules[name] = { type, contents: isText ? await file.text() : await file.bytes() };
	}
	const hasUserWorker = member.mainModule !== undefined;
	if (!hasUserWorker) modules["idle.js"] = { type: "esm", contents: IDLE };
	const { name, worker: workerName, version, account } = member;
	let mainModule = member.mainModule ?? "idle.js";
	const lines: string[] = [];
	const main = JSON.stringify(`./${mainModule}`);
	// The tail consumers of the user would receive the reports, so a Worker with such consumers has none.
	if (member.rpc && member.tailConsumers.length === 0) {
		modules[RPC_MODULE] = { type: "esm", contents: RPC_CODE };
		lines.push(
			`import { watch } from "./${RPC_MODULE}";`,
			`import * as version from ${main};`,
			`watch(version, ${[RPC_MARKER, name, member.rpc.events].map((value) => JSON.stringify(value)).join(", ")});`,
		);
	}
	if (member.loadable) {
		const names = member.loadable.map((name) => JSON.stringify(name));
		lines.push(`export { ${names.map((name) => `${name} as ${name}`).join(", ")} } from ${main};`);
	} else if (lines.length > 0) {
		lines.push(`export * from ${main};`, ...(member.rpc?.hasDefault ? [`export { default } from ${main};`] : []));
	}
	if (lines.length > 0) {
		mainModule = "sandbox-main.js";
		modules[mainModule] = { type: "esm", contents: lines.join("\n") };
	}
	const tail = { worker: TAIL, props: { worker: workerName, version, account, member: name } };
	return {
		config: {
			name,
			compatibilityDate: clamp(member.compatibilityDate),
			compatibilityFlags: member.compatibilityFlags,
			manifest: { mainModule, modulesRoot: `/${name}`, modules },
			env: Object.fromEntries(Object.entries(member.env).map(([name, binding]) => [name, withDatabase(binding)])),
			exports: member.exports,
			tailConsumers: hasUserWorker ? [tail, ...member.tailConsumers] : [],
			...(member.assets && { assets: { ...member.assets, hasUserWorker } }),
		},
		dev: { unsafeRegisterWorker: false },
	};
}

/** Returns the source map of a member's module. Reads it at the first exception. */
function sourceMap(member: Member, module: string): Promise<InstanceType<typeof TraceMap> | undefined> | undefined {
	const key = `${member.version} ${module}`;
	if (!maps.has(key)) maps.set(key, Bun.file(member.modules[`${module}.map`]?.path ?? "").json().then((map) => new TraceMap(map), () => undefined));
	return maps.get(key);
}

const maps = new Map<string, Promise<InstanceType<typeof TraceMap> | undefined>>();

/** Maps the locations in a stack to the sources, if the upload has a source map. */
async function mapStack(stack: string, member: Member | undefined): Promise<string> {
	const userLines = stack.split("\n").filter((line) => !line.includes(`/${RPC_MODULE}:`));
	const lines = userLines.map(async (line) => {
		const location = /^(.*?)file:\/\/\/[^/]+\/(.+?):(\d+):(\d+)(\)?)$/.exec(line);
		if (location === null) return line;
		const [, before, module, row, column, after] = location;
		const map = member && (await sourceMap(member, decodeURIComponent(module ?? "")));
		const source = map && originalPositionFor(map, { line: Number(row), column: Number(column) - 1 });
		if (!source?.source) return `${before}${module}:${row}:${column}${after}`;
		return `${before}${source.source.replace(/^(\.\.?\/)+/, "")}:${source.line}:${source.column + 1}${after}`;
	});
	return (await Promise.all(lines)).join("\n");
}

/** The latest errors of methods, by group. */
const rpcErrors = new Map<string, RpcError[]>();

/** Stores the error of a method. */
function addRpcError(group: Group, report: string, time: number): void {
	const errors = rpcErrors.get(group.name) ?? [];
	errors.push({ ...JSON.parse(report), time, isShown: false });
	rpcErrors.set(group.name, errors.slice(-MAX_RPC_ERRORS));
}

/** Returns the stack of an exception, preceded by the stacks of the methods that threw it over RPC since `start`. */
async function fullStack(group: Group, member: Member | undefined, start: number, { message, stack }: Exception): Promise<string | undefined> {
	const callerStack = stack ? await mapStack(stack, member) : undefined;
	const isCause = (error: RpcError) => {
		const isSame = message === error.message || message === `${error.name}: ${error.message}`;
		// Each Worker that an error passes through reports it. A report without a stack only forwards the error.
		return isSame && error.time >= start && (stack !== undefined || !error.isShown);
	};
	const findCauses = () => (rpcErrors.get(group.name) ?? []).filter(isCause);
	let causes = findCauses();
	// On a busy machine, the reports may arrive late.
	const isPossible = group.members.some(({ rpc }) => rpc !== undefined);
	for (let wait = 0; isPossible && causes.length === 0 && wait < MAX_REPORT_WAIT; wait += 50) {
		await Bun.sleep(50);
		causes = findCauses();
	}
	const stacks = causes.map(async (error) => {
		error.isShown = true;
		const thrower = group.members.find((one) => one.name === error.member);
		const frames = error.stack.split("\n").filter((line) => /^\s+at /.test(line));
		const lines = (await mapStack(frames.join("\n"), thrower)).split("\n");
		return lines.map((line) => (thrower === member ? line : `${line} in ${thrower?.worker}`)).join("\n");
	});
	const all = new Set([...(await Promise.all(stacks)), ...(callerStack === undefined ? [] : [callerStack])]);
	return all.size === 0 ? undefined : [...all].join("\n");
}

/** Returns whether a line of the console is the report of a method's error. */
const isRpcReport = ({ message }: { message: unknown }) => Array.isArray(message) && typeof message[0] === "string" && message[0].startsWith(RPC_MARKER);

/** Receives workerd's reports of a group's members. */
const receiveTraces = (group: Group) => async (request: Request) => {
	const { traces, member: name, ...rest } = (await request.json()) as { traces: Trace[]; member: string };
	const member = group.members.find((one) => one.name === name);
	for (const trace of traces) {
		trace.logs = trace.logs.filter((line) => !isRpcReport(line));
		for (const exception of trace.exceptions) exception.stack = await fullStack(group, member, trace.eventTimestamp ?? 0, exception);
		send({ trace: { ...rest, ...trace } });
	}
	return new MiniflareResponse(null, { status: 204 });
};

/** Receives the messages of a group that no Worker consumes. */
const receiveMessages = (group: Group) => async (request: Request) => {
	const { queue, messages } = (await request.json()) as { queue: string; messages: object[] };
	send({ backlog: { account: group.members[0]?.account, queue, messages } });
	return new MiniflareResponse(null, { status: 204 });
};

/** Creates the Worker that consumes all queues of a group. */
function queuesWorker(group: Group): object {
	const consumers = group.members.flatMap(({ name, triggers }) => triggers.map((trigger) => ({ member: name, trigger })));
	const env: Record<string, object> = {
		HOST: { type: "fetcher", handler: receiveMessages(group) },
		CONSUMERS: { type: "json", value: Object.fromEntries(consumers.map(({ member, trigger }) => [trigger.name, member])) },
		PAUSED: { type: "json", value: group.pausedQueues },
	};
	for (const { member } of consumers) env[`consumer ${member}`] = { type: "worker", worker: member };
	for (const { name, deliveryDelay } of group.queues) env[`send ${name}`] = { type: "queue", name, ...(deliveryDelay && { deliveryDelay }) };
	const withoutWorker = group.queuesWithoutWorker.map((name) => ({ type: "queue", name, maxBatchSize: 100, maxBatchTimeout: 0 }));
	return helperWorker(QUEUES, QUEUES_CODE, env, [...consumers.map(({ trigger }) => trigger), ...withoutWorker]);
}

/** Returns the workflow bindings of a group by name. */
function workflows(group: Group): Map<string, Fields> {
	const bindings = group.members.flatMap(({ env }) => Object.values(env)).filter(({ type }) => type === "workflow");
	const unbound = group.members.flatMap(({ workflows }) => workflows);
	return new Map([...unbound, ...bindings].map((binding) => [String(binding.name), binding]));
}

/** The states of an instance that must continue: queued, running, waiting (miniflare 5). */
const ACTIVE_STATES = [0, 1, 7];

/**
 * Lists the active instances of a workflow from an earlier process, because miniflare does not resume them. Their
 * databases contain the names only as serialized data of V8, so this searches its bytes.
 */
async function activeInstances(group: Group, workflow: string): Promise<string[]> {
	const folder = `${group.data}/workflows/miniflare-workflows-${workflow}`;
	const files = await readdir(folder).catch(() => []);
	const ids = files.filter((file) => file.endsWith(".sqlite") && file !== "metadata.sqlite").map((file) => {
		try {
			using database = new Database(`${folder}/${file}`, { readwrite: true });
			const read = (key: string) => {
				const row = database.query("SELECT value FROM _cf_KV WHERE key = ?").get(key) as { value: Uint8Array } | null;
				return Buffer.from(row?.value ?? []);
			};
			// An `I`, then the state as a zigzag number.
			const status = read("ENGINE_STATUS");
			if (status[2] !== 0x49 || !ACTIVE_STATES.includes((status[3] ?? 0) >> 1)) return undefined;
			const match = /"\x08instanceo"\x02id"([\x01-\x7f])/.exec(read("INSTANCE_METADATA").toString("latin1"));
			if (match === null) return undefined;
			const start = match.index + match[0].length;
			return read("INSTANCE_METADATA").toString("latin1").slice(start, start + (match[1]?.charCodeAt(0) ?? 0));
		} catch (error) {
			console.error(`cannot read the workflow instance ${folder}/${file}: ${error}`);
			return undefined;
		}
	});
	return ids.filter((id) => id !== undefined);
}

/** Resumes the instances of workflows in a group that has just started. */
async function resume(port: number, instances: Map<string, string[]>): Promise<void> {
	for (const [workflow, ids] of instances) {
		if (ids.length === 0) continue;
		const body = JSON.stringify({ workflow, ids });
		const headers = { "mf-sandbox-command": "resume" };
		await fetch(`http://127.0.0.1:${port}/`, { method: "POST", headers, body }).catch((error) => console.error(error));
	}
}

/** Returns miniflare's options of a group. Its errors are added to `failures`. */
async function options(group: Group, failures: string[]): Promise<object> {
	const members = await Promise.all(group.members.map(worker));
	const targets: Record<string, object> = {};
	for (const [name, binding] of workflows(group)) targets[`@workflow ${name}`] = binding;
	for (const { name } of group.members) targets[name] = { type: "worker", worker: name };
	const hasStub = group.members.some(({ env }) => Object.values(env).some((one) => one.worker === STUB));
	const hasCode = group.members.some(({ mainModule }) => mainModule !== undefined);
	if (hasCode) targets[TAIL] = { type: "worker", worker: TAIL };
	const hasQueues = group.queues.length > 0;
	if (hasQueues) targets[QUEUES] = { type: "worker", worker: QUEUES };
	return {
		host: "127.0.0.1",
		port: 0,
		// Without this, miniflare fetches an example of `request.cf` from the internet.
		cf: false,
		logRequests: false,
		// With the registry, `wrangler dev` of the same user would find the Workers of the sandbox, and vice versa.
		enableDevRegistry: false,
		log: new StderrLog(LogLevel.WARN),
		handleStructuredLogs: ({ timestamp, level, message }: { timestamp: number; level: string; message: string }) => {
			// The output of a Worker arrives as a trace with its name. This log has no name. It is used only for
			// errors that no trace has: those that prevent a start, and those of methods. The errors of methods
			// arrive here before the traces of the exceptions that they cause.
			if (level === "error") failures.push(message);
			else if (message.startsWith(RPC_MARKER)) addRpcError(group, message.slice(RPC_MARKER.length), timestamp);
		},
		telemetry: { enabled: false },
		// The explorer is the only way to list the instances of a workflow.
		unsafeLocalExplorer: workflows(group).size > 0,
		resourcePersistencePath: group.data,
		workers: [
			helperWorker(EDGE, EDGE_CODE, targets),
			...(hasCode ? [helperWorker(TAIL, TAIL_CODE, { HOST: { type: "fetcher", handler: receiveTraces(group) } })] : []),
			...(hasStub ? [helperWorker(STUB, STUB_CODE)] : []),
			...members,
			// miniflare uses the delay of the first producer, so the members come first.
			...(hasQueues ? [queuesWorker(group)] : []),
		],
	};
}

/** Groups by name, including those that are starting. */
const loaded = new Map<string, InstanceType<typeof Miniflare>>();
/** The ports of the groups that have started. */
const ports = new Map<string, number>();
/** The groups that are stopping. */
const ending = new Map<string, Promise<void>>();

async function unload(name: string): Promise<void> {
	const miniflare = loaded.get(name);
	loaded.delete(name);
	ports.delete(name);
	rpcErrors.delete(name);
	if (miniflare === undefined) return ending.get(name);
	const ended = miniflare.dispose().catch((error: unknown) => console.error(error));
	ending.set(name, ended);
	await ended;
	ending.delete(name);
}

async function load(id: number, group: Group): Promise<void> {
	await Promise.all(group.after.map(unload));
	if (group.isStateful) await Promise.all(ending.values());
	const failures: string[] = [];
	const reply = await start(group, failures).then(
		(port) => ({ id, port }),
		(error: unknown) => {
			const message = error instanceof Error ? error.message : String(error);
			return { id, error: failures.length > 0 ? failures.join("\n") : message };
		},
	);
	failures.length = 0;
	send(reply);
}

/** `true` if a client tails. */
let isTailed = false;

/** Tells a group whether to report every invocation. */
async function sendTailed(port: number): Promise<void> {
	const headers = { "mf-sandbox-command": "tail" };
	const body = JSON.stringify(isTailed);
	await fetch(`http://127.0.0.1:${port}/`, { method: "POST", headers, body }).catch((error) => console.error(error));
}

async function tail(id: number, shouldTail: boolean): Promise<void> {
	isTailed = shouldTail;
	await Promise.all([...ports.values()].map(sendTailed));
	send({ id });
}

/** Starts a group and returns its port. */
async function start(group: Group, failures: string[]): Promise<number> {
	for (let attempt = 1; ; attempt += 1) {
		failures.length = 0;
		try {
			const instances = new Map<string, string[]>();
			for (const name of workflows(group).keys()) instances.set(name, await activeInstances(group, name));
			const miniflare = new Miniflare(await options(group, failures));
			loaded.set(group.name, miniflare);
			const port = Number(((await miniflare.ready) as URL).port);
			ports.set(group.name, port);
			if (isTailed) await sendTailed(port);
			void resume(port, instances);
			return port;
		} catch (error) {
			await unload(group.name);
			if (attempt === MAX_ATTEMPTS || !BUSY.test([error, ...failures].join("\n"))) throw error;
			await Bun.sleep(50 + Math.random() * 200);
		}
	}
}

// If workerd cannot load a version, promises without a handler are rejected too. The reply has the error already.
process.on("unhandledRejection", (error) => console.error(error));

// Kills every workerd at any exit. The sandbox made this process the leader of a process group.
process.on("exit", () => {
	try {
		process.kill(-process.pid, "SIGKILL");
	} catch {
		// Started manually, without a process group.
	}
});

const decoder = new TextDecoder();
let buffer = "";
for await (const chunk of Bun.stdin.stream()) {
	buffer += decoder.decode(chunk, { stream: true });
	const lines = buffer.split("\n");
	buffer = lines.pop() ?? "";
	for (const line of lines) {
		const command = JSON.parse(line) as Command;
		if ("load" in command) void load(command.id, command.load);
		else if ("tail" in command) void tail(command.id, command.tail);
		else void unload(command.unload).then(() => rm(command.folder, { recursive: true, force: true }));
	}
}
await Promise.all([...loaded.keys()].map(unload));
process.exit(0);
