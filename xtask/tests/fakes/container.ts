// The part of Dagger's own API that a stand-in needs to install and build: folders of the host with patterns, and
// containers as folders of this machine in which the real tools run.
import { cpSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";

/** A pipeline: its calls, each with its words. Quotes are gone, `$…` is as written. */
export type Calls = string[][];

interface Container {
	/** The folder of the container. */
	root: string;
	workdir: string;
	env: Record<string, string>;
}

type Value = { directory: string } | { container: Container } | { volume: string };

/** Ends with a message of the CLI. */
type Fail = (message: string, code?: number) => never;

/** The values of a script's variables. */
export class Shell {
	private readonly values = new Map<string, Value>();

	constructor(
		private readonly state: string,
		private readonly parse: (line: string) => Calls,
		private readonly fail: Fail,
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

	private value(word: string): Value {
		if (word.startsWith("$(")) return this.evaluate(this.parse(word.slice(2, -1)));
		return this.values.get(word.slice(1)) ?? this.fail(`${word}: unbound variable`);
	}

	private evaluate(calls: Calls): Value {
		const [first, ...rest] = calls as [string[], ...string[][]];
		const [name, argument] = first;
		if (name === "host") return { directory: this.hostDirectory(rest[0] ?? []) };
		if (name === "cache-volume") return { volume: argument ?? "" };
		if (name === "container") {
			const root = mkdtempSync(`${this.state}/container-`);
			const tools = [join(root, "global/bin"), process.env.PATH ?? "", dirname(process.execPath)];
			const env = { HOME: process.env.HOME ?? "", PATH: tools.join(delimiter), npm_config_prefix: join(root, "global") };
			return { container: rest.reduce((made, call) => this.apply(made, call), { root, workdir: root, env } as Container) };
		}
		if (!name?.startsWith("$")) return this.fail(`function or module "${name}" not found`);
		const value = this.value(name);
		const call = rest[0];
		if (call === undefined) return value;
		if (call[0] !== "directory" || !("container" in value)) return this.fail(`no function "${call[0]}" in type "Container"`);
		const folder = place(value.container, call[1] ?? "");
		const there = lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
		return there ? { directory: folder } : this.fail(`failed to stat ${call[1]}: no such file or directory`);
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
				const value = expanded.replace(/(^|:)(?=\/src(?:\/|:|$))/g, `$1${container.root}`);
				return { ...container, env: { ...env, [variable]: value } };
			}
			case "with-secret-variable": {
				const [variable = "", address = ""] = words;
				const value = process.env[address.replace("env://", "")];
				return value === undefined ? this.fail("secret env var not found") : { ...container, env: { ...env, [variable]: value } };
			}
			case "without-secret-variable": {
				const { [words[0] ?? ""]: _, ...others } = env;
				return { ...container, env: others };
			}
			case "with-directory":
				cpSync(this.directory(words[1] ?? ""), place(container, words[0] ?? ""), { recursive: true, verbatimSymlinks: true });
				return container;
			case "with-exec": {
				if (words[0] !== "--") return this.fail("with-exec without --");
				const argv = words.slice(1).map((word) => (word.startsWith("/src/") ? place(container, word) : word));
				const program = argv[0] === "bun" ? [process.execPath, ...argv.slice(1)] : argv;
				mkdirSync(container.workdir, { recursive: true });
				const kept = { BUN_INSTALL_CACHE_DIR: process.env.BUN_INSTALL_CACHE_DIR ?? "", ...certificates() };
				const ended = Bun.spawnSync(program, { cwd: container.workdir, env: { ...kept, ...env }, stdout: "pipe", stderr: "pipe" });
				process.stderr.write(`${ended.stdout}${ended.stderr}`);
				if (!ended.success) this.fail(`exit code: ${ended.exitCode}`, ended.exitCode ?? 1);
				return container;
			}
			default:
				return this.fail(`no function "${name}" in type "Container"`);
		}
	}
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
