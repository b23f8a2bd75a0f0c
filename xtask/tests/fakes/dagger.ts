// A stand-in for the `dagger` CLI with an engine behind it, for tests: it parses the script, checks each
// call against the modules' real signatures, builds and deploys with the real tools, and plays the
// failures that a real CLI v0.21.8 was seen to have. `mode` beside its log says which.

import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import { type Events, progress, replace, Shell } from "./container.ts";

const [state, root, repository, ...argv] = Bun.argv.slice(2) as [string, string, string, ...string[]];

type Signature = { positional: string[]; optional: string[]; returns: string };
type ModuleObject = { name: string; constructor: Signature; functions: Record<string, Signature> };
type Modules = Record<string, ModuleObject[]>;
type Stage = { words: string[] };

function fail(message: string, code = 1): never {
	process.stderr.write(`Error: ${message} [traceparent:00-0-0-01]\n`);
	process.exit(code);
}

/** Splits one line of Dagger Shell into the stages of its pipeline. Only single quotes are understood. */
export function stages(line: string): Stage[] {
	const found: Stage[] = [{ words: [] }];
	let word: string | undefined;
	let quoted = false;
	const end = () => {
		if (word !== undefined) found.at(-1)?.words.push(word);
		word = undefined;
	};
	for (let index = 0; index < line.length; index += 1) {
		const char = line[index] as string;
		if (char === "'") [quoted, word] = [!quoted, word ?? ""];
		else if (quoted) word += char;
		else if (char === "$" && /[a-z(]/.test(line[index + 1] ?? "")) {
			const value = variable(line.slice(index));
			word = (word ?? "") + value;
			index += value.length - 1;
		} else if (char === "\\") word = (word ?? "") + line[++index];
		else if (char === " ") end();
		else if (char === "|") (end(), found.push({ words: [] }));
		else if ("$`\"();&<>*?{}".includes(char)) fail(`unexpected ${char} outside of quotes`);
		else word = (word ?? "") + char;
	}
	end();
	return found;
}

/** Returns the `$name` or the `$(…)` that a text begins with. */
function variable(text: string): string {
	if (text[1] !== "(") return /^\$[a-z]+/.exec(text)?.[0] ?? "$";
	let depth = 0;
	let quoted = false;
	for (let index = 1; index < text.length; index += 1) {
		if (!quoted && text[index] === "\\") index += 1;
		else if (text[index] === "'") quoted = !quoted;
		else if (!quoted && text[index] === "(") depth += 1;
		else if (!quoted && text[index] === ")" && --depth === 0) return text.slice(0, index + 1);
	}
	return fail("a parenthesis that is not closed");
}

/** Joins lines while a quote is open, as a shell reads them. */
function statements(script: string): string[] {
	const found: string[] = [];
	let open = "";
	for (const line of script.split("\n")) {
		open = open === "" ? line : `${open}\n${line}`;
		// Outside of quotes, a backslash takes the next quote.
		const closed = open.replace(/'[^']*'|\\./gs, "");
		if (!closed.includes("'")) {
			if (open.trim() !== "") found.push(open);
			open = "";
		}
	}
	return found;
}

async function modules(): Promise<Modules> {
	const print = Bun.spawnSync([process.execPath, `${repository}/dagger/test/signatures.ts`]);
	if (!print.success) fail(print.stderr.toString());
	return JSON.parse(print.stdout.toString()) as Modules;
}

/** The module that a reference or the folder means, as its folder below the root. */
function moduleAt(reference: string): string {
	const folder = resolve(process.cwd(), reference);
	if (!`${folder}/`.startsWith(`${root}/`)) fail(`can't escape context root: ${reference}`);
	if (!existsSync(`${folder}/dagger.json`)) fail(`local path "${reference}" does not exist`);
	return folder.slice(root.length + 1);
}

type Call = { name: string; arguments: Record<string, string> };

/** Checks the words of a call against a signature, and gives every argument its name. */
function bind(signature: Signature, name: string, words: string[], hasDefaults: boolean): Record<string, string> {
	const given: Record<string, string> = {};
	const positional: string[] = [];
	for (const word of words) {
		const option = /^--([a-z-]+)=([\s\S]*)$/.exec(word);
		if (option === null) {
			if (word.startsWith("-")) fail(`unknown flag: ${word}`);
			positional.push(word);
		} else {
			const flag = option[1] as string;
			if (![...signature.positional, ...signature.optional].includes(flag)) fail(`unknown flag: --${flag}`);
			given[flag] = option[2] as string;
		}
	}
	const wanted = signature.positional.filter((argument) => !(argument in given));
	if (positional.length > wanted.length) fail(`function "${name}" accepts at most ${wanted.length} positional argument(s), received ${positional.length}`);
	for (const [index, argument] of wanted.entries()) {
		const value = positional[index];
		// An argument with a default path may be left out.
		if (value === undefined && !(argument === "source" && hasDefaults)) {
			fail(`function "${name}" requires ${wanted.length} positional argument(s), received ${positional.length}`);
		}
		if (value !== undefined) given[argument] = value;
	}
	return given;
}

/**
 * Follows a pipeline from a module's object: a function that returns the object itself adds its arguments, one that returns
 * another object or a folder ends with the call to carry out. Returns it with the stages after it.
 */
function follow(all: Modules, module: string, flags: string[], stages: Stage[]): { call: Call; rest: Stage[]; result: ModuleObject | undefined } {
	const [main, ...others] = all[module] ?? fail(`module "${module}" not found`);
	if (main === undefined) return fail(`module "${module}" not found`);
	let given = bind(main.constructor, main.name, flags, false);
	for (const [index, { words }] of stages.entries()) {
		const [name = "", ...more] = words;
		const signature = main.functions[name] ?? fail(`no function "${name}" in type "${main.name}"`);
		given = { ...given, ...bind(signature, name, more, module.startsWith("projects/")) };
		if (signature.returns === main.name) continue;
		const result = others.find((object) => object.name === signature.returns);
		return { call: { name, arguments: given }, rest: stages.slice(index + 1), result };
	}
	return fail(`no function was called on "${main.name}"`);
}

function run(command: string[], cwd: string, env: Record<string, string>): Bun.SyncSubprocess<"pipe", "pipe"> {
	const base = { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "", BUN_INSTALL_CACHE_DIR: process.env.BUN_INSTALL_CACHE_DIR ?? "" };
	return Bun.spawnSync(command, { cwd, env: { ...base, ...env }, stdout: "pipe", stderr: "pipe" });
}

/** The build of a module: the project's own script, in place, which is what the real one leaves. */
function build(call: Call): string {
	const source = resolve(process.cwd(), call.arguments.source ?? ".");
	const dist = call.arguments.dist ?? "dist";
	rmSync(`${source}/${dist}`, { recursive: true, force: true });
	if (existsSync(`${source}/bun.lock`)) run([process.execPath, "install", "--frozen-lockfile"], source, {});
	const ended = run([process.execPath, "--bun", "run", call.arguments.script ?? "build"], source, { ASTRO_TELEMETRY_DISABLED: "1" });
	if (!ended.success) {
		process.stderr.write(progress(["bun", "--bun", "run", "build"], `${ended.stdout}${ended.stderr}`, false));
		fail(`exit code: ${ended.exitCode}`, ended.exitCode ?? 1);
	}
	return `${source}/${dist}`;
}

/** The deployment of the Cloudflare module, by its own rules and the real wrangler. */
async function deploy(call: Call, mode: string, shell: Shell): Promise<string> {
	const [{ parseBeforeDeploy, bundleArguments, WRANGLER_ENV, parseFlags, BUN_OPTIONS, stepArguments, parseStrategy, wranglerArguments }, { parseRefusal, parseWarnings }, { verdict }, { hasAssets, refusal, site }, { READ_DEPLOYMENTS, missingWorker }] = await Promise.all([
		import(`${repository}/dagger/cloudflare/src/arguments.ts`),
		import(`${repository}/dagger/cloudflare/src/refusal.ts`),
		import(`${repository}/dagger/cloudflare/src/verdict.ts`),
		import(`${repository}/dagger/cloudflare/src/site.ts`),
		import(`${repository}/dagger/cloudflare/src/deployments.ts`),
	]);
	const given = call.arguments;
	// The project with what was installed and built, or as it is here.
	const project = given.workspace === undefined ? process.cwd() : join(shell.directory(given.workspace), given.path ?? ".");
	const secret = /^env:\/\/(.+)$/.exec(given["cloudflare-api-token"] ?? "")?.[1];
	if (secret === undefined) fail("resource cannot have empty address");
	const token = process.env[secret as string];
	if (token === undefined) fail(`secret env var not found: "${secret?.slice(0, 3)}..."`);
	const name = given["wrangler-config"] as string;
	const config = (await import(resolve(process.cwd(), name))).default;
	const workerName: string | undefined = given["worker-name"];
	const found = site(config, given.environment, workerName);
	const command = call.name === "deploy" ? "deploy" : "preview";
	const strategy = command === "preview" ? parseStrategy(given.strategy) : undefined;
	const steps: { command: string; arguments: string[]; reads: string[] }[] = parseBeforeDeploy(given.steps);
	const flags: { bundle: string[]; upload: string[] } = parseFlags(given.flags);
	const dist = resolve(process.cwd(), given.dist as string);
	if (!existsSync(dist)) fail(`no such directory: ${given.dist}`);
	const shared = JSON.parse(readFileSync(`${root}/dagger/config/config.json`, "utf8"));
	const hasSource = given.source !== undefined || given.workspace !== undefined;
	// The module's own name of this file is beside its imports of the engine's SDK.
	const adapter = hasSource && existsSync(`${project}/.wrangler/deploy/config.json`);
	const reason = refusal(found, {
		accountId: shared.cloudflare.accountId,
		hasSource,
		adapter,
		entries: hasAssets(found, adapter, given.workspace !== undefined) ? readdirSync(dist) : undefined,
		alias: given.alias,
		strategy,
	});
	const refuse = (reason: string | undefined) => reason !== undefined && fail(`refused, nothing was changed: ${name}: ${reason}`);
	refuse(reason);
	// An exit code from 128 to 191 is an error of the engine itself, whatever the module expects.
	const signalled = () => {
		process.stderr.write(progress(["bun", "--bun", "wrangler.js", "deploy"], "", false));
		fail("exit code: 143", 143);
	};
	if (mode === "wrangler-signal-early") signalled();
	const output = `${state}/${given.nonce}.ndjson`;
	rmSync(output, { force: true });
	const environment: string | undefined = found.wranglerEnvironment;
	const step = { command, strategy, alias: given.alias, environment, tag: given.tag, message: given.message, flags: flags.upload };
	const words: string[] = wranglerArguments(step);
	writeFileSync(`${state}/wrangler.json`, JSON.stringify({ words, WRANGLER_ENV }));
	const env = {
		...WRANGLER_ENV,
		WRANGLER_OUTPUT_FILE_PATH: output,
		CLOUDFLARE_ACCOUNT_ID: shared.cloudflare.accountId,
		CLOUDFLARE_API_TOKEN: token as string,
		...(given.api && { CLOUDFLARE_API_BASE_URL: `${given.api.replace("tcp://", "http://")}/client/v4` }),
	};
	const wrangler = `${root}/dagger/cloudflare/toolchain/node_modules/wrangler/bin/wrangler.js`;
	// Each call has its own container.
	const own = mkdtempSync(`${state}/container-`);
	const places = { empty: `${own}/empty`, bundle: `${own}/bundle.form`, upload: `${own}/upload` };
	mkdirSync(places.empty, { recursive: true });
	const isBundled = found.hasCode || found.builds || adapter;
	if (isBundled) {
		const assets = found.assets === undefined && !adapter ? undefined : places.empty;
		const first = bundleArguments({ config: adapter ? undefined : name, environment, assets, outdir: `${own}/out`, outfile: places.bundle, flags: flags.bundle, workerName });
		const bundled = run([process.execPath, ...BUN_OPTIONS, wrangler, ...first], project, WRANGLER_ENV);
		if (!bundled.success) {
			const judged = verdict(command, bundled.exitCode, "", strategy);
			return JSON.stringify({ schema: 1, command, nonce: given.nonce, exitCode: bundled.exitCode, ...judged, log: `${bundled.stdout}${bundled.stderr}` });
		}
	}
	const request = JSON.stringify({
		root: given.workspace === undefined ? root : shell.directory(given.workspace),
		project,
		config: resolve(project, name),
		environment: environment || null,
		redirected: adapter,
		bundle: isBundled ? places.bundle : null,
		upload: places.upload,
		account: shared.cloudflare.accountId,
		name: workerName ?? null,
		reads: steps.flatMap((step) => step.reads.map((path) => join(given.workspace === undefined ? project : shell.directory(given.workspace), path))),
	});
	const program = `${repository}/dagger/cloudflare/toolchain/prepare-upload.js`;
	const prepared = run([process.execPath, "--no-env-file", "--config=/dev/null", program, request], "/", { CLOUDFLARE_API_TOKEN: token as string });
	if (!prepared.success) refuse(parseRefusal(prepared.stderr.toString()) ?? prepared.stderr.toString());
	const warnings: string[] = parseWarnings(prepared.stderr.toString());
	if (strategy === "preview") {
		const asked = run([process.execPath, ...BUN_OPTIONS, "-e", READ_DEPLOYMENTS, found.worker], process.cwd(), env);
		refuse(missingWorker(found.worker, `${asked.stdout}` || `${asked.stderr}`));
	}
	const results: { command: string; isOk: boolean }[] = [];
	for (const step of steps) {
		const ended = run([process.execPath, ...BUN_OPTIONS, wrangler, ...stepArguments(name, environment, step)], project, env);
		results.push({ command: step.command, isOk: ended.success });
		if (!ended.success) {
			const judged = verdict(command, ended.exitCode, "", strategy);
			const error = `the step \`${step.command}\` of \`xtask.beforeDeploy\` exited with ${ended.exitCode}; nothing was uploaded`;
			return JSON.stringify({ schema: 1, command, nonce: given.nonce, exitCode: ended.exitCode, ...judged, error, steps: results, log: `${ended.stdout}${ended.stderr}` });
		}
	}
	const ended = run([process.execPath, ...BUN_OPTIONS, wrangler, ...words], places.upload, env);
	if (mode === "wrangler-signal-late") signalled();
	const judged = verdict(command, ended.exitCode, existsSync(output) ? readFileSync(output, "utf8") : "", strategy);
	const log = `${ended.stdout}${ended.stderr}`.replaceAll(token as string, "***");
	return JSON.stringify({ schema: 1, command, nonce: given.nonce, exitCode: ended.exitCode, ...judged, warnings, steps: results, log });
}

/** Plays a signal that ends wrangler before or after its upload, and keeps its words for the tests. */
function events(mode: string): Events {
	const isUpload = (words: string[]) => words[4] === "upload";
	const signalled = () => {
		process.stderr.write(progress(["sh", "-c", "wrangler.js deploy"], "", false));
		fail("exit code: 143", 143);
	};
	return {
		before(words) {
			if (!isUpload(words)) return;
			writeFileSync(`${state}/wrangler.json`, JSON.stringify({ words: words.slice(words.findIndex((word) => word.endsWith("wrangler.js")) + 1) }));
			if (mode === "wrangler-signal-early") signalled();
			// The words before are those of the shell that records the exit code.
			if (mode === "wrangler-killed") words.splice(5, words.length, "sh", "-c", "kill -KILL $$");
		},
		after(words) {
			if (isUpload(words) && mode === "wrangler-signal-late") signalled();
		},
	};
}

async function script(text: string, mode: string): Promise<void> {
	const all = await modules();
	const shell = new Shell(state, (line) => stages(line).map(({ words }) => words), fail, `${root}/dagger/cloudflare/toolchain`, events(mode));
	for (const statement of statements(text)) {
		if (shell.assign(statement)) continue;
		const [first, ...rest] = stages(statement) as [Stage, ...Stage[]];
		if (first.words[0]?.startsWith("$")) {
			const calls = [first, ...rest].map(({ words }) => words);
			const [call, wipe, path] = calls.at(-1) ?? [];
			if (call !== "export") {
				shell.run(calls);
				continue;
			}
			if (wipe !== "--wipe") fail("an export that keeps old files");
			const folder = shell.folderOf(calls.slice(0, -1));
			if (mode === "replay" && existsSync(`${folder}/nonce`)) writeFileSync(`${folder}/nonce`, "another");
			replace(folder, resolve(process.cwd(), path ?? ""));
			if (mode === "no-deploy") process.exit(0);
			continue;
		}
		if (first.words[0] === ".") fail("returned error 422: Expected Name, found {");
		const isReference = first.words[0]?.includes("/") === true;
		const [reference, flags] = isReference ? [first.words[0] as string, first.words.slice(1)] : [".", []];
		const { call, rest: after, result } = follow(all, moduleAt(reference), flags, isReference ? rest : [first, ...rest]);
		const value = call.name === "build" ? build(call) : await deploy(call, mode, shell);
		if (result !== undefined && after.shift()?.words.join(" ") !== "record") fail(`the test expects the record of a ${result.name}`);
		const [, wipeOrPath, path] = after[0]?.words ?? [];
		if (call.name === "build") {
			if (wipeOrPath !== "--wipe" || resolve(process.cwd(), path ?? "") !== value) fail(`the test expects the build at ${value}`);
			if (mode === "no-deploy") process.exit(0);
			continue;
		}
		const file = resolve(process.cwd(), wipeOrPath ?? "");
		mkdirSync(dirname(file), { recursive: true });
		writeFileSync(file, mode === "replay" ? value.replace(/"nonce":"[^"]*"/, '"nonce":"another"') : value);
		process.stdout.write(file);
	}
}

const mode = existsSync(`${state}/mode`) ? readFileSync(`${state}/mode`, "utf8").trim() : "ok";
const stdin = argv.includes("/dev/stdin") ? await Bun.stdin.text() : "";
const entry = { argv, stdin, cwd: process.cwd(), env: Object.keys(process.env).sort() };
appendFileSync(`${state}/log.ndjson`, `${JSON.stringify(entry)}\n`);

const MESSAGES: Record<string, string> = {
	"engine-down": "start engine: Cannot connect to the Docker daemon at unix:///var/run/docker.sock",
	"skew": "incompatible engine version: engine v0.18.0, minimum v0.19.0",
	"no-runtime": 'driver for scheme "image" was not available',
};

if (argv[0] === "version") {
	console.log(`dagger v${mode === "old" ? "0.18.8" : "0.21.8"} (unix:///run/dagger/engine.sock) linux/amd64`);
} else if (mode === "hang") {
	// A CLI without an engine says where it got to and waits forever, and so does what it started.
	process.stderr.write("connecting to engine\n");
	Bun.spawn(["sleep", "3600"]);
	await Bun.sleep(3_600_000);
} else if (mode === "lost-engine") {
	// The engine goes during a run: the CLI reports it and waits forever.
	const lines = ["1   : connect DONE [0.0s]", "22  : withExec bun --bun run build", "25  : export", "25  : export ERROR [2.3s]"];
	process.stderr.write(`${lines.join("\n")}\n25  : ! Post "http://dagger/query": unexpected EOF\n`);
	Bun.spawn(["sleep", "3600"]);
	await Bun.sleep(3_600_000);
} else if (mode === "signal") {
	process.kill(process.pid, "SIGKILL");
} else if (mode in MESSAGES) {
	fail(MESSAGES[mode] as string);
} else if (argv.includes("-c")) {
	process.stdout.write("v0.21.8");
} else if (!argv.includes("/dev/stdin")) {
	process.stderr.write("Usage: dagger [command]\n");
} else if (mode !== "nothing") {
	await script(stdin, mode);
}
