/** The commands: make a version live, or upload one that is not live. */
export type Command = "deploy" | "preview";

/** The kind of a preview: a version under an alias, or a Worker Preview with its own bindings. */
export type Strategy = "alias" | "preview";

/** Parses a strategy. `undefined` means `alias`. @throws If the text is not a strategy. */
export function parseStrategy(text: string | undefined): Strategy {
  if (text === undefined || text === "" || text === "alias") return "alias";
  if (text === "preview") return "preview";
  throw new Error(`\`${text}\` is not a strategy: \`alias\` or \`preview\``);
}

/** A run of wrangler that uploads a folder from `prepare-upload.js`. */
export interface UploadStep {
  command: Command;
  /** A block of the config. An empty name means the top level of a config that has blocks. */
  environment?: string | undefined;
  /** Stored with the version, at most 100 bytes. */
  tag?: string | undefined;
  /** Stored with the version. */
  message?: string | undefined;
  /** The alias of the preview URL, or the preview's name. */
  alias?: string | undefined;
  /** The kind of a preview. `undefined` means `alias`. */
  strategy?: Strategy | undefined;
  /** Flags of the project. */
  flags?: readonly string[] | undefined;
}

/** The flags of a project, by the step that they belong to. */
export interface Flags {
  bundle: string[];
  upload: string[];
}

/** The flags that are accepted, with their steps. Those of `VALUES` have a value. */
const FLAGS: Readonly<Record<string, readonly (keyof Flags)[]>> = {
  "--minify": ["bundle"],
  "--no-bundle": ["bundle"],
  "--upload-source-maps": ["bundle", "upload"],
  "--keep-vars": ["upload"],
  "--define": ["bundle"],
  "--jsx-factory": ["bundle"],
  "--jsx-fragment": ["bundle"],
};

const VALUES = ["--define", "--jsx-factory", "--jsx-fragment"];

/** Parses flags of wrangler: a JSON array of strings, each with its value. `undefined` means none. @throws For any other flag. */
export function parseFlags(text: string | undefined): Flags {
  const flags: Flags = { bundle: [], upload: [] };
  if (text === undefined || text === "") return flags;
  const words = JSON.parse(text) as unknown;
  if (!Array.isArray(words)) throw new Error("`flags` is not a list of strings");
  for (const word of words) {
    const name = String(word).split("=")[0] ?? "";
    const steps = Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined;
    if (steps === undefined || VALUES.includes(name) !== String(word).includes("=")) {
      throw new Error(`\`${word}\` is not a flag of a project: ${Object.keys(FLAGS).join(", ")}`);
    }
    for (const step of steps) flags[step].push(String(word));
  }
  return flags;
}

/** A command of wrangler that runs with the token before the upload of a deployment. */
export interface BeforeDeploy {
  /** The command as the project writes it. */
  command: string;
  /** The words after `wrangler`. */
  arguments: string[];
  /** The files and folders that it reads, relative to the repository. */
  reads: string[];
}

/** The commands that may run with the token: they change data and run no code of a project. */
const STEPS = ["d1 migrations apply", "d1 execute", "kv key put", "kv bulk put", "r2 object put"];

/** The options that would select another account, environment or folder. */
const FOREIGN = /^(?:-c|-e|--(?:config|cwd|env|env-file|local|persist-to|pipe))(?:=|$)/;

/**
 * Parses the steps before the upload: a JSON array of {@link BeforeDeploy}. `undefined` means none.
 *
 * @throws If the text is not such an array, or if a command must not run with the token.
 */
export function parseBeforeDeploy(text: string | undefined): BeforeDeploy[] {
  if (text === undefined || text === "") return [];
  const steps = JSON.parse(text) as unknown;
  const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every((item) => typeof item === "string");
  const isStep = (value: unknown): value is BeforeDeploy => {
    const step = value as Partial<BeforeDeploy> | null;
    return typeof step?.command === "string" && isTexts(step.arguments) && isTexts(step.reads);
  };
  if (!Array.isArray(steps) || !steps.every(isStep)) throw new Error("`beforeDeploy` is not a list of steps");
  for (const step of steps) {
    const line = step.arguments.join(" ");
    if (!STEPS.some((command) => line.startsWith(`${command} `)) || step.arguments.some((word) => FOREIGN.test(word))) {
      throw new Error(`\`wrangler ${line}\` must not run with the token: ${STEPS.map((command) => `\`${command}\``).join(", ")}`);
    }
  }
  return steps;
}

/** Returns the arguments of wrangler for a step before the upload. */
export function stepArguments(config: string, environment: string | undefined, step: BeforeDeploy): string[] {
  const words = ["--env-file=/dev/null", `--config=${config}`];
  if (environment !== undefined) words.push(`--env=${environment}`);
  return [...words, ...step.arguments];
}

/** The options for bundling a Worker's code, which runs without a token. */
export interface BundleOptions {
  /** The config file, relative to the folder that wrangler runs in. `undefined` if it uses the config of an adapter. */
  config?: string | undefined;
  /** A block of the config, as in {@link UploadStep}. */
  environment?: string | undefined;
  /** An empty folder that replaces the published one, because wrangler would hash each file of it. */
  assets?: string | undefined;
  /** The folder of wrangler's output. */
  outdir: string;
  /** The file with every module, in the format of an upload. */
  outfile: string;
  /** Flags of the project. */
  flags?: readonly string[] | undefined;
  /** The name that replaces a missing one at the top level of the config. */
  workerName?: string | undefined;
}

/** Returns the arguments that bundle without a request to Cloudflare. All code of the project runs in this step. */
export function bundleArguments(bundling: BundleOptions): string[] {
  const words = ["deploy", "--dry-run"];
  if (bundling.config !== undefined) words.push(`--config=${bundling.config}`);
  words.push("--autoconfig=false", "--env-file=/dev/null");
  if (bundling.environment !== undefined) words.push(`--env=${bundling.environment}`);
  if (bundling.assets !== undefined) words.push(`--assets=${bundling.assets}`);
  words.push(`--outdir=${bundling.outdir}`, `--outfile=${bundling.outfile}`, ...(bundling.flags ?? []));
  return bundling.workerName === undefined ? words : [...words, `--name=${bundling.workerName}`];
}

/**
 * Returns the arguments of wrangler, without the program itself.
 *
 * `--autoconfig=false`: without a config file, `deploy` would write one and install packages. `versions upload` has no
 * such option. `--strict`: refuses to overwrite changes from elsewhere. `--no-x-provision`: refuses to create storage for
 * bindings without an id. `--env-file`: reads no `.env` file, which could name another Worker. Every value is in one word
 * with its option, so that it is never parsed as an option. `wrangler preview` has neither of the first two, and storage
 * without an id is intended there: the preview gets its own. Observed with wrangler 4.164.
 */
export function wranglerArguments(step: UploadStep): string[] {
  if (step.command === "preview" && step.strategy === "preview") return previewArguments(step);
  const words = step.command === "deploy" ? ["deploy"] : ["versions", "upload"];
  if (step.command === "deploy") words.push("--autoconfig=false");
  words.push("--strict", "--no-x-provision", "--env-file=/dev/null");
  if (step.command === "preview" && step.alias !== undefined) words.push(`--preview-alias=${step.alias}`);
  return [...words, ...notes(step), ...(step.flags ?? [])];
}

function previewArguments(step: UploadStep): string[] {
  const words = ["preview"];
  if (step.alias !== undefined) words.push(`--name=${step.alias}`);
  words.push("--env-file=/dev/null");
  return [...words, ...notes(step)];
}

function notes(step: UploadStep): string[] {
  const words: string[] = [];
  if (step.environment !== undefined) words.push(`--env=${step.environment}`);
  if (step.tag !== undefined) words.push(`--tag=${step.tag}`);
  if (step.message !== undefined) words.push(`--message=${step.message}`);
  return words;
}

/**
 * The options of Bun for wrangler. Bun replaces Node and ignores the `.env` files and the `bunfig.toml` of the folder,
 * because those could name another Worker or run code in the process that has the token.
 */
export const BUN_OPTIONS: readonly string[] = ["--no-env-file", "--config=/dev/null", "--bun"];

/**
 * The variables that make wrangler quiet and non-interactive: no metrics, no banner, no log files, no fetch of request
 * metadata for a local workerd. Bun's variable delays its optimizing compiler, which rarely pays off in wrangler
 * (`crates/cloudflare/src/wrangler.rs` has the details).
 */
export const WRANGLER_ENV: Readonly<Record<string, string>> = {
  BUN_JSC_thresholdForOptimizeAfterWarmUp: "20000",
  CI: "1",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_LOG_SANITIZE: "true",
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_WRITE_LOGS: "false",
};
