// Runs uploaded versions in workerd, through miniflare, for the sandbox.
//
// The sandbox starts this on Bun with the folder of the toolchain's packages as its argument. Orders come as lines of
// JSON on stdin, answers go as lines of JSON to stdout. It ends when stdin does, so that it never
// outlives the sandbox, however that ended.

type Binding = { type: string; [field: string]: unknown };

type Version = {
	/** Unique; also the name of its Worker in miniflare. */
	name: string;
	compatibilityDate: string;
	compatibilityFlags: string[];
	/** The modules of the Worker's code; none for a Worker of assets alone. */
	mainModule?: string;
	modules: Record<string, { type: string; path: string }>;
	env: Record<string, Binding>;
	assets?: {
		directory: string;
		htmlHandling?: string;
		notFoundHandling?: string;
		runWorkerFirst?: boolean | string[];
	};
};

type Order = { id: number; versions: Version[] };

const packages = Bun.argv[2] ?? "node_modules";
const { Miniflare, Log, LogLevel } = await import(`${packages}/miniflare/dist/src/index.js`);
const { compatibilityDate: newest } = await import(`${packages}/workerd/lib/main.js`);

/** The first Worker: hands a request to the version that a header names. */
const EDGE = `export default {
	async fetch(request, env) {
		const headers = new Headers(request.headers);
		const name = headers.get("x-sandbox-version") ?? "";
		const url = new URL(request.url);
		url.host = headers.get("x-sandbox-host") ?? url.host;
		for (const header of ["x-sandbox-version", "x-sandbox-host", "mf-original-url"]) headers.delete(header);
		if (!(name in env)) return new Response("no such version is loaded", { status: 599 });
		const init = { method: request.method, headers, body: request.body, redirect: "manual" };
		return env[name].fetch(new Request(url, init));
	},
};`;

const IDLE = "export default { fetch: () => new Response('this Worker has no code', { status: 404 }) };";

/** workerd refuses a compatibility date later than its own, and miniflare one in the future. */
function clamp(date: string): string {
	const today = new Date().toISOString().slice(0, 10);
	return [date, newest as string, today].sort()[0] ?? date;
}

async function worker(version: Version): Promise<object> {
	const modules: Record<string, { type: string; contents: string | Uint8Array }> = {};
	for (const [name, { type, path }] of Object.entries(version.modules)) {
		const file = Bun.file(path);
		const text = type === "esm" || type === "cjs" || type === "text" || type === "json";
		modules[name] = { type, contents: text ? await file.text() : await file.bytes() };
	}
	const hasUserWorker = version.mainModule !== undefined;
	if (!hasUserWorker) modules["idle.js"] = { type: "esm", contents: IDLE };
	return {
		config: {
			name: version.name,
			compatibilityDate: clamp(version.compatibilityDate),
			compatibilityFlags: version.compatibilityFlags,
			manifest: { mainModule: version.mainModule ?? "idle.js", modules },
			env: version.env,
			...(version.assets && { assets: { ...version.assets, hasUserWorker } }),
		},
	};
}

async function options(versions: Version[]): Promise<object> {
	const env = Object.fromEntries(versions.map(({ name }) => [name, { type: "worker", worker: name }]));
	const edge = {
		config: {
			name: "sandbox-edge",
			compatibilityDate: "2026-01-01",
			manifest: { mainModule: "edge.js", modules: { "edge.js": { type: "esm", contents: EDGE } } },
			env,
		},
	};
	return {
		host: "127.0.0.1",
		port: 0,
		cf: false,
		log: new Log(LogLevel.WARN),
		telemetry: { enabled: false },
		workers: [edge, ...(await Promise.all(versions.map(worker)))],
	};
}

function answer(message: object): void {
	process.stdout.write(`${JSON.stringify(message)}\n`);
}

let miniflare: InstanceType<typeof Miniflare> | undefined;

// A version that workerd refuses rejects promises that nobody holds; the order is answered below.
process.on("unhandledRejection", (error) => console.error(error));

async function carryOut({ id, versions }: Order): Promise<void> {
	try {
		const wanted = await options(versions);
		if (miniflare === undefined) miniflare = new Miniflare(wanted);
		else await miniflare.setOptions(wanted);
		const url: URL = await miniflare.ready;
		answer({ id, port: Number(url.port) });
	} catch (error) {
		await miniflare?.dispose().catch(() => undefined);
		miniflare = undefined;
		answer({ id, error: error instanceof Error ? error.message : String(error) });
	}
}

let waiting = "";
for await (const chunk of Bun.stdin.stream()) {
	waiting += new TextDecoder().decode(chunk);
	const lines = waiting.split("\n");
	waiting = lines.pop() ?? "";
	for (const line of lines) if (line !== "") await carryOut(JSON.parse(line) as Order);
}
await miniflare?.dispose();
process.exit(0);
