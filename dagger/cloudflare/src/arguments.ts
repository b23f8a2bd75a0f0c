/** The two things that can be done with a Worker: make a version live, or upload one that is not. */
export type Command = "deploy" | "preview";

/** The kind of a preview: a version under an alias, or a Worker Preview with its own bindings. */
export type Strategy = "alias" | "preview";

/** Reads a strategy. `undefined` is `alias`. @throws For any other text. */
export function strategyOf(text: string | undefined): Strategy {
  if (text === undefined || text === "" || text === "alias") return "alias";
  if (text === "preview") return "preview";
  throw new Error(`\`${text}\` is no strategy: \`alias\` or \`preview\``);
}

/** One run of wrangler, which uploads a folder that `prepare-upload.js` wrote. */
export interface Step {
  command: Command;
  /** A block of the config. The empty one is the top level of a config that has blocks. */
  environment?: string | undefined;
  /** Kept with the version; at most 100 bytes. */
  tag?: string | undefined;
  /** Kept with the version. */
  message?: string | undefined;
  /** The alias of the preview URL, or the preview's name. */
  alias?: string | undefined;
  /** The kind of a preview. `undefined` is `alias`. */
  strategy?: Strategy | undefined;
}

/** The bundling of a Worker's code, which runs before there is a token. */
export interface Bundling {
  /** The config file, relative to the folder that wrangler runs in. `undefined` if it follows the config of an adapter. */
  config?: string | undefined;
  /** A block of the config, as in {@link Step}. */
  environment?: string | undefined;
  /** An empty folder that replaces the published one, because wrangler would hash each file of it. */
  assets?: string | undefined;
  /** The folder of wrangler's own output. */
  outdir: string;
  /** The file with every module, as wrangler would upload it. */
  outfile: string;
}

/** Returns the arguments that bundle without a request to Cloudflare. Everything that a project can run in wrangler runs here. */
export function bundleArguments(bundling: Bundling): string[] {
  const words = ["deploy", "--dry-run"];
  if (bundling.config !== undefined) words.push(`--config=${bundling.config}`);
  words.push("--autoconfig=false", "--env-file=/dev/null");
  if (bundling.environment !== undefined) words.push(`--env=${bundling.environment}`);
  if (bundling.assets !== undefined) words.push(`--assets=${bundling.assets}`);
  return [...words, `--outdir=${bundling.outdir}`, `--outfile=${bundling.outfile}`];
}

/**
 * Returns the arguments of wrangler, without the program itself.
 *
 * `--autoconfig=false`: without a config file, `deploy` would write one and install packages. `versions upload` has no
 * such option. `--strict`: refuses to overwrite what was changed elsewhere. `--no-x-provision`: refuses to create storage
 * for bindings without an id. `--env-file`: reads no `.env` file, which could name another Worker. Every value is in one
 * word with its option, so that none is taken for an option itself.
 * `wrangler preview` has neither of the first, and storage without an id is meant there: the preview gets its own.
 * Seen with wrangler 4.164.
 */
export function wranglerArguments(step: Step): string[] {
  if (step.command === "preview" && step.strategy === "preview") return previewArguments(step);
  const words = step.command === "deploy" ? ["deploy"] : ["versions", "upload"];
  if (step.command === "deploy") words.push("--autoconfig=false");
  words.push("--strict", "--no-x-provision", "--env-file=/dev/null");
  if (step.command === "preview" && step.alias !== undefined) words.push(`--preview-alias=${step.alias}`);
  return [...words, ...notes(step)];
}

function previewArguments(step: Step): string[] {
  const words = ["preview"];
  if (step.alias !== undefined) words.push(`--name=${step.alias}`);
  words.push("--env-file=/dev/null");
  return [...words, ...notes(step)];
}

function notes(step: Step): string[] {
  const words: string[] = [];
  if (step.environment !== undefined) words.push(`--env=${step.environment}`);
  if (step.tag !== undefined) words.push(`--tag=${step.tag}`);
  if (step.message !== undefined) words.push(`--message=${step.message}`);
  return words;
}

/**
 * The options of Bun when it runs wrangler: in Node's place, and blind to the `.env` files and the `bunfig.toml` of the
 * folder. Those could name another Worker or run code in the process that holds the token.
 */
export const ON_BUN: readonly string[] = ["--no-env-file", "--config=/dev/null", "--bun"];

/**
 * The variables that make wrangler quiet, non-interactive and free of side trips: no metrics, no banner, no log files, no
 * fetch of request metadata for a local workerd. Bun's makes it compile later what runs often, since hardly anything in
 * wrangler runs often enough to be worth it (`crates/cloudflare/src/wrangler.rs` says more).
 */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  BUN_JSC_thresholdForOptimizeAfterWarmUp: "20000",
  CI: "1",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_LOG_SANITIZE: "true",
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_WRITE_LOGS: "false",
};
