// The part of Dagger's own API that a stand-in needs to install and build: folders of the host with patterns, and
// containers as folders of this machine in which the real tools run.
import { cpSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";

/** A pipeline: its calls, each with its words. Quotes are gone, `$…` is as written. */
export type Calls = string[][];

interface Container {
	/** The folder of the container. */
	root: string;
	workdir: string;
	env: Record<string, string>;
	/** The names of the variables that hold secrets. */
	secrets: string[];
}

type Value = { directory: string } | { file: string } | { container: Container } | { volume: string };

/** Hooks around each program that a container runs. */
export interface Events {
	/** Called before a program runs, with its words. */
	before(words: string[]): void;
	/** Called after a program ran. */
	after(words: string[]): void;
}

/** The folders of a container in which scripts have absolute paths. */
const FOLDERS = /(?<![\w./-])(?=\/(?:src|toolchain|output|bundle|upload|prepare-upload\.js)(?![\w-]))/g;

/** Ends with a message of the CLI. */
type Fail = (message: string, code?: number) => never;

/** The values of a script's variables. */
export class Shell {
	private readonly values = new Map<string, Value>();

	constructor(
		private readonly state: string,
		private readonly parse: (line: string) => Calls,
		private readonly fail: Fail,
		/** The folder in which wrangler is installed, which a container gets instead of an install. */
		private readonly toolchain: string,
		private readonly events: Events,
	) {}

	/** Carries out `name=$(…)`. Returns false for any other statement. */
	assign(statement: string): boolean {
		const found = /^([a-z]+)=\$\(([\s\S]*)\)$/.exec(statement);
		if (found === null) return false;
		this.values.set(found[1] as string, this.evaluate(this.parse(found[2] as string)));
		return true;
	}

	/** Returns the folder that a word means: `$name`, or a pipeline in `$(…)`. */
	directory(word: string): string {
		const value = this.value(word);
		return "directory" in value ? value.directory : this.fail(`${word} is no directory`);
	}

	/** Returns the folder at the end of a pipeline that begins with a variable. */
	folderOf(calls: Calls): string {
		const value = this.evaluate(calls);
		return "directory" in value ? value.directory : this.fail("no directory to export");
	}

	/** Runs a pipeline to its end. */
	run(calls: Calls): void {
		this.evaluate(calls);
	}

	private file(word: string): string {
		const value = this.value(word);
		return "file" in value ? value.file : this.fail(`${word} is no file`);
	}

	private value(word: string): Value {
		if (word.startsWith("$(")) return this.evaluate(this.parse(word.slice(2, -1)));
		return this.values.get(word.slice(1)) ?? this.fail(`${word}: unbound variable`);
	}

	private evaluate(calls: Calls): Value {
		const [first, ...rest] = calls as [string[], ...string[][]];
		const [name, argument] = first;
		if (name === "host" && rest[0]?.[0] === "file") {
			const file = resolve(process.cwd(), rest[0][1] ?? "");
			return lstatSync(file, { throwIfNoEntry: false })?.isFile() ? { file } : this.fail(`no such file: ${file}`);
		}
		if (name === "host") return { directory: this.hostDirectory(rest[0] ?? []) };
		if (name === "directory") return { directory: mkdtempSync(`${this.state}/empty-`) };
		if (name === "cache-volume") return { volume: argument ?? "" };
		if (name === "container") {
			const root = mkdtempSync(`${this.state}/container-`);
			const tools = [join(root, "global/bin"), process.env.PATH ?? "", dirname(process.execPath)];
			const env = { HOME: process.env.HOME ?? "", PATH: tools.join(delimiter), npm_config_prefix: join(root, "global") };
			const made: Container = { root, workdir: root, env, secrets: [] };
			return { container: rest.reduce((made, call) => this.apply(made, call), made) };
		}
		if (!name?.startsWith("$")) return this.fail(`function or module "${name}" not found`);
		const value = this.value(name);
		const kind = rest.at(-1)?.[0];
		if (kind === undefined) return value;
		if (!("container" in value)) return this.fail(`no function "${kind}" in type "Directory"`);
		const isRead = kind === "directory" || kind === "file";
		const changes = isRead || kind === "stdout" ? rest.slice(0, -1) : rest;
		// A container does not change: another one begins with its files.
		const made = changes.length === 0 ? value.container : changes.reduce((made, call) => this.apply(made, call), this.copy(value.container));
		if (!isRead) return { container: made };
		const path = rest.at(-1)?.[1] ?? "";
		const found = place(made, path);
		const there = lstatSync(found, { throwIfNoEntry: false });
		if (kind === "file" && there !== undefined && !there.isDirectory()) return { file: found };
		return kind === "directory" && there?.isDirectory() ? { directory: found } : this.fail(`failed to stat ${path}: no such file or directory`);
	}

	private copy(container: Container): Container {
		const root = mkdtempSync(`${this.state}/container-`);
		cpSync(container.root, root, { recursive: true, verbatimSymlinks: true });
		const moved = (text: string) => text.replaceAll(container.root, root);
		const env = Object.fromEntries(Object.entries(container.env).map(([name, value]) => [name, moved(value)]));
		return { ...container, root, workdir: moved(container.workdir), env };
	}

	private hostDirectory([, path = ".", ...options]: string[]): string {
		const given = (name: string) =>
			options.filter((word) => word.startsWith(`--${name}=`)).map((word) => word.slice(name.length + 3));
		const [include, exclude] = [given("include").map(pattern), given("exclude").map(pattern)];
		const from = resolve(process.cwd(), path);
		const to = mkdtempSync(`${this.state}/source-`);
		const walk = (dir: string, taken: boolean) => {
			for (const entry of readdirSync(join(from, dir), { withFileTypes: true })) {
				const file = join(dir, entry.name);
				if (exclude.some((fits) => fits.test(file))) continue;
				const included = taken || include.length === 0 || include.some((fits) => fits.test(file));
				if (entry.isDirectory()) walk(file, included);
				else if (included) cpSync(join(from, file), join(to, file), { verbatimSymlinks: true });
			}
		};
		walk("", false);
		return to;
	}

	private apply(container: Container, [name, ...words]: string[]): Container {
		const { env } = container;
		switch (name) {
			case "from":
				return container;
			case "with-workdir":
				return { ...container, workdir: place(container, words[0] ?? "") };
			case "with-mounted-cache":
				this.value(words[1] ?? "");
				return container;
			case "with-env-variable": {
				const [variable = "", text = "", expand] = words;
				const expanded = expand === "--expand" ? text.replace(/\$\{(\w+)\}/g, (_, other: string) => env[other] ?? "") : text;
				// The caches of this machine serve instead of a volume.
				if (expanded.startsWith("/var/cache/")) return container;
				// A service is reached under its name.
				const value = expanded.replace("http://api:", "http://127.0.0.1:").replace(FOLDERS, container.root);
				return { ...container, env: { ...env, [variable]: value } };
			}
			case "with-secret-variable": {
				const [variable = "", address = ""] = words;
				const value = process.env[address.replace("env://", "")];
				if (value === undefined) return this.fail(`secret env var not found: "${address.replace("env://", "").slice(0, 3)}..."`);
				return { ...container, env: { ...env, [variable]: value }, secrets: [...container.secrets, value] };
			}
			case "with-service-binding":
				return words[0] === "api" && /^tcp:\/\/127\.0\.0\.1:\d+$/.test(words[1] ?? "") ? container : this.fail("no such service");
			case "with-new-file": {
				const file = place(container, words[0] ?? "");
				mkdirSync(dirname(file), { recursive: true });
				writeFileSync(file, words[1] ?? this.fail("with-new-file without contents"));
				return container;
			}
			case "with-file": {
				const file = place(container, words[0] ?? "");
				mkdirSync(dirname(file), { recursive: true });
				// The content, also of a file that is a link.
				writeFileSync(file, readFileSync(this.file(words[1] ?? "")));
				return container;
			}
			case "without-secret-variable": {
				const { [words[0] ?? ""]: _, ...others } = env;
				return { ...container, env: others };
			}
			case "with-directory":
				cpSync(this.directory(words[1] ?? ""), place(container, words[0] ?? ""), { recursive: true, verbatimSymlinks: true });
				return container;
			case "with-exec": {
				const log = words[0]?.startsWith("--redirect-stdout=") ? words.shift()?.slice("--redirect-stdout=".length) : undefined;
				if (words[0] !== "--") return this.fail("with-exec without --");
				this.events.before(words);
				const argv = words.slice(1).map((word) => word.replace(FOLDERS, container.root));
				mkdirSync(container.workdir, { recursive: true });
				if (container.workdir === place(container, "/toolchain") && argv[1] === "install") {
					symlinkSync(`${this.toolchain}/node_modules`, `${container.workdir}/node_modules`);
					return container;
				}
				const program = argv[0] === "bun" ? [process.execPath, ...argv.slice(1)] : argv;
				const kept = { BUN_INSTALL_CACHE_DIR: process.env.BUN_INSTALL_CACHE_DIR ?? "", ...certificates() };
				const ended = Bun.spawnSync(program, { cwd: container.workdir, env: { ...kept, ...env }, stdout: "pipe", stderr: "pipe" });
				this.events.after(words);
				const scrubbed = (text: string) => container.secrets.reduce((text, secret) => text.replaceAll(secret, "***"), text);
				const stdout = scrubbed(ended.stdout.toString());
				if (log !== undefined) writeFileSync(place(container, log), stdout.replaceAll(container.root, ""));
				process.stderr.write(progress(words.slice(1), stdout + scrubbed(ended.stderr.toString()), ended.success));
				if (!ended.success) this.fail(`exit code: ${ended.exitCode}`, ended.exitCode ?? 1);
				return container;
			}
			default:
				return this.fail(`no function "${name}" in type "Container"`);
		}
	}
}

/** The number of the last step that the CLI printed. */
let step = 0;

/**
 * Returns what a CLI v0.21.8 prints about a command with `--progress=plain`. After a failed command, it prints the progress
 * of the steps that did not run.
 */
export function progress(words: string[], output: string, isOk: boolean): string {
	step += 10;
	const lines = output === "" ? [] : output.replace(/\n$/, "").split("\n");
	const end = (name: string, ok: boolean) => `${name} ${ok ? "DONE" : "ERROR"} [0.1s]`;
	const own = [`withExec ${words.join(" ")}`, ...lines.map((line) => `[0.1s] | ${line}`.trimEnd()), end("Container.withExec", isOk)];
	const later = ["withSecretVariable", "withWorkdir", "withEnvVariable", "withExec", "directory"].map((name) => `Container.${name}`);
	const skipped = isOk ? [] : later.flatMap((name, index) => [name, "┆ argument", end(name, true)].map((text) => `${step + 1 + index}  : ${text}`));
	const failed = isOk ? [] : ["Directory.export(path: \"dist\", wipe: true): String!", end("Directory.export", false), "! exit code: 1"].map((text) => `${step + 6}  : ${text}`);
	return `${[...own.map((line) => `${step}  : ${line}`), ...skipped, ...failed].join("\n")}\n\n`;
}

/** Replaces a folder by a copy of another one, as `export --wipe` does. */
export function replace(from: string, to: string): void {
	rmSync(to, { recursive: true, force: true });
	cpSync(from, to, { recursive: true, verbatimSymlinks: true });
}

/** Returns the variables by which the tools of this machine reach a registry. */
function certificates(): Record<string, string> {
	const names = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "npm_config_registry", "NPM_CONFIG_REGISTRY", "BUN_CONFIG_REGISTRY"];
	return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name] as string]] : [])));
}

function place(container: Container, path: string): string {
	return join(container.root, path);
}

/** Returns a pattern of the engine as an expression: a path, or one below it. */
function pattern(text: string): RegExp {
	const source = text
		.replace(/[.+^${}()|[\]\\]/g, "\\$&")
		.replace(/\*\*\/|\*|\?/g, (found) => ({ "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]" })[found] ?? found);
	return new RegExp(`^${source}$`, "s");
}
