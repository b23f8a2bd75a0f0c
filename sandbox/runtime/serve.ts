// Runs uploaded versions in workerd, through miniflare, for the sandbox.
//
// The sandbox starts this on Bun, with the folder of miniflare's and workerd's packages as its
// argument. Orders come as lines of JSON on stdin, answers go as lines of JSON to stdout, all else
// goes to stderr. It ends when stdin does, so it never outlives the sandbox, however that ended.
//
// Each version has a workerd process of its own: loading one neither interrupts nor breaks another.

import { rm } from "node:fs/promises";

type Binding = { type: string; [field: string]: unknown };

type Version = {
	/** Unique among what is loaded. */
	name: string;
	compatibilityDate: string;
	compatibilityFlags: string[];
	/** The entry module; none for a Worker of assets alone. */
	mainModule?: string;
	modules: Record<string, { type: string; path: string }>;
	env: Record<string, Binding>;
	assets?: {
		directory: string;
		htmlHandling?: string;
		notFoundHandling?: string;
		runWorkerFirst?: boolean | string[];
	};
	/** Where KV, R2 and D1 keep their data. */
	data: string;
};

type Order = { load: Version; id: number } | { unload: string; folder: string };

const packages = Bun.argv[2] ?? "node_modules";
const { Miniflare, Log, LogLevel } = await import(`${packages}/miniflare/dist/src/index.js`);
const { compatibilityDate: newest } = await import(`${packages}/workerd/lib/main.js`);

/** Bindings whose data outlives a version, and is shared by all versions. */
const KEPT = ["kv", "r2", "d1"];

/** What workerd says when another one is just opening the same data (observed with workerd 1.20261117). */
const BUSY = /SQLITE_BUSY|database is locked/;

/** How often a version is started at most while others open the same data. */
const TRIES = 10;

const IDLE = "export default { fetch: () => new Response('This Worker has no code.', { status: 404 }) };";

/** What miniflare says goes to the log of the sandbox, never among the answers. */
class Errors extends Log {
	override log(message: string): void {
		console.error(message);
	}
}

/** workerd refuses a compatibility date later than its own, and miniflare one in the future. */
function clamp(date: string): string {
	const today = new Date().toISOString().slice(0, 10);
	return [date, newest as string, today].sort()[0] ?? date;
}

async function options(version: Version): Promise<object> {
	const modules: Record<string, { type: string; contents: string | Uint8Array }> = {};
	for (const [name, { type, path }] of Object.entries(version.modules)) {
		const file = Bun.file(path);
		const text = type === "esm" || type === "cjs" || type === "text" || type === "json";
		modules[name] = { type, contents: text ? await file.text() : await file.bytes() };
	}
	const keeps = Object.values(version.env).some(({ type }) => KEPT.includes(type));
	const hasUserWorker = version.mainModule !== undefined;
	if (!hasUserWorker) modules["idle.js"] = { type: "esm", contents: IDLE };
	const config = {
		name: version.name,
		compatibilityDate: clamp(version.compatibilityDate),
		compatibilityFlags: version.compatibilityFlags,
		manifest: { mainModule: version.mainModule ?? "idle.js", modules },
		env: version.env,
		...(version.assets && { assets: { ...version.assets, hasUserWorker } }),
	};
	return {
		host: "127.0.0.1",
		port: 0,
		// Otherwise it asks the internet for an example of `request.cf`.
		cf: false,
		log: new Errors(LogLevel.WARN),
		handleStructuredLogs: ({ level, message }: { level: string; message: string }) =>
			console.error(`${version.name.slice(0, 8)} ${level}: ${message}`),
		telemetry: { enabled: false },
		...(keeps && { resourcePersistencePath: version.data }),
		workers: [{ config }],
	};
}

const loaded = new Map<string, InstanceType<typeof Miniflare>>();

async function unload(name: string): Promise<void> {
	const miniflare = loaded.get(name);
	loaded.delete(name);
	await miniflare?.dispose().catch((error: unknown) => console.error(error));
}

async function load(id: number, version: Version): Promise<void> {
	const answer = await start(version).then(
		(port) => ({ id, port }),
		(error: unknown) => ({ id, error: error instanceof Error ? error.message : String(error) }),
	);
	process.stdout.write(`${JSON.stringify(answer)}\n`);
}

/** Starts a version and returns its port. */
async function start(version: Version): Promise<number> {
	for (let tried = 1; ; tried += 1) {
		try {
			const miniflare = new Miniflare(await options(version));
			loaded.set(version.name, miniflare);
			const url: URL = await miniflare.ready;
			return Number(url.port);
		} catch (error) {
			await unload(version.name);
			if (tried === TRIES || !BUSY.test(String(error))) throw error;
			await Bun.sleep(50 + Math.random() * 200);
		}
	}
}

// A version that workerd refuses rejects promises that nobody holds; the order is answered above.
process.on("unhandledRejection", (error) => console.error(error));

// However this ends, no workerd goes on: the sandbox made this process the leader of a group.
process.on("exit", () => {
	try {
		process.kill(-process.pid, "SIGKILL");
	} catch {
		// Started by hand, without a group of its own.
	}
});

const decoder = new TextDecoder();
let waiting = "";
for await (const chunk of Bun.stdin.stream()) {
	waiting += decoder.decode(chunk, { stream: true });
	const lines = waiting.split("\n");
	waiting = lines.pop() ?? "";
	for (const line of lines) {
		const order = JSON.parse(line) as Order;
		if ("load" in order) void load(order.id, order.load);
		else void unload(order.unload).then(() => rm(order.folder, { recursive: true, force: true }));
	}
}
await Promise.all([...loaded.keys()].map(unload));
process.exit(0);
