import {
  dag,
  ReturnType,
  type Container,
  type Directory,
  type File,
  type Secret,
  type Service,
} from "@dagger.io/dagger";

import { bundleArguments, ENVIRONMENT, ON_BUN, wranglerArguments, type Step } from "./arguments.js";
import { ASK } from "./deployed.js";
import { REFUSED, refusalOf, warningsOf } from "./refusal.js";
import { distPath } from "./site.js";

/** The folder of the project in the container. */
export const WORK = "/src";

/** The folder of wrangler. */
const TOOLCHAIN = "/toolchain";

/** The launcher of wrangler. */
const LAUNCHER = `${TOOLCHAIN}/node_modules/wrangler/bin/wrangler.js`;

/** The folder in which Bun keeps downloaded packages between runs. */
const CACHE = "/var/cache/bun";

/** The file in which wrangler writes what it did. */
const OUTPUT = "/output/wrangler.ndjson";

/** Prints the config that its last argument names as JSON, read by Bun's own parsers. */
export const READ_CONFIG = "process.stdout.write(JSON.stringify((await import(process.argv.at(-1))).default))";

/** The program that prepares an upload, in the container. */
const PREPARE = "/prepare-upload.js";

/** The folder that the program writes, and wrangler uploads. */
const UPLOAD = "/upload";

/** The folder of the first step's output, beside the project. */
const BUNDLE = "/bundle";

/** The file that the first step leaves. */
export const BUNDLE_FILE = `${BUNDLE}/bundle.form`;

/** The inputs of a deployment. */
export interface Inputs {
  /** The built folder. `undefined` if nothing is published. */
  dist: Directory | undefined;
  config: File;
  /** The config's file name. */
  name: string;
  source: Directory | undefined;
  /** The repository with everything installed and built. `undefined` if `source` is installed here. */
  workspace: Directory | undefined;
  /** The folder of the project in the container. */
  folder: string;
  /** The path of `dist`, relative to the config: its `assets.directory`. */
  assets: string | undefined;
}

/** The choices of the first step. */
export interface First {
  /** The config's file name. */
  name: string;
  environment: string | undefined;
  /** Wrangler follows the config that an adapter generated. */
  adapter: boolean;
  /** The config that wrangler follows has assets. */
  hasAssets: boolean;
}

/** Everything that a request to Cloudflare needs. */
export interface Access {
  accountId: string;
  token: Secret;
  nonce: string;
  api: Service | undefined;
}

/** The result of a run. */
export interface Outcome {
  exitCode: number;
  /** The text of wrangler's output file. */
  output: string;
  stdout: string;
  stderr: string;
}

/** A container with Bun and its package cache. */
export async function bun(): Promise<Container> {
  return dag
    .container()
    .from(await dag.config().image("bun"))
    .withMountedCache(CACHE, dag.cacheVolume("bun-install"))
    .withEnvVariable("BUN_INSTALL_CACHE_DIR", CACHE);
}

/** The wrangler config as plain values. JSON may have comments, so it is read as JSONC whatever its name. */
export async function readConfig(container: Container, config: File, name: string): Promise<unknown> {
  const path = name.endsWith(".toml") ? "/config/wrangler.toml" : "/config/wrangler.jsonc";
  const json = await container.withFile(path, config).withExec(["bun", "-e", READ_CONFIG, path]).stdout();
  return JSON.parse(json);
}

/**
 * Returns a container with the project: the sources, if wrangler bundles them, then the config and what was built.
 * Installed dependencies are those of the sources' own lock file. Their install scripts run here, where no token ever is.
 */
export async function project(container: Container, inputs: Inputs): Promise<Container> {
  let next = container.withWorkdir(inputs.folder);
  if (inputs.workspace !== undefined) {
    next = next.withDirectory(WORK, inputs.workspace);
  } else if (inputs.source !== undefined) {
    next = next.withDirectory(WORK, inputs.source);
    if ((await inputs.source.glob("bun.lock")).length > 0)
      next = next.withExec(["bun", "install", "--frozen-lockfile"]);
  }
  next = next.withFile(`${inputs.folder}/${inputs.name}`, inputs.config);
  if (inputs.dist === undefined) return next;
  const dist = `${inputs.folder}/${distPath(inputs.assets)}`;
  return next.withoutDirectory(dist).withDirectory(dist, inputs.dist);
}

/** Returns the folder with the wrangler that `toolchain/bun.lock` pins. None of its packages' install scripts is needed. */
export function toolchain(container: Container): Directory {
  const pins = dag.currentModule().source().directory("toolchain");
  return container
    .withFile(`${TOOLCHAIN}/package.json`, pins.file("package.json"))
    .withFile(`${TOOLCHAIN}/bun.lock`, pins.file("bun.lock"))
    .withWorkdir(TOOLCHAIN)
    .withExec(["bun", "install", "--frozen-lockfile", "--ignore-scripts"])
    .directory(TOOLCHAIN);
}

/**
 * Bundles the code of the project, the first step. Everything that a project can run in wrangler runs here, without a
 * token. A failed run is an answer too, not an exception.
 */
export async function bundle(ready: Container, wrangler: Directory, first: First): Promise<{ ended: Container; outcome: Outcome }> {
  let next = ready.withDirectory(TOOLCHAIN, wrangler).withDirectory(`${BUNDLE}/empty`, dag.directory());
  for (const [name, value] of Object.entries(ENVIRONMENT)) next = next.withEnvVariable(name, value);
  const words = bundleArguments({
    config: first.adapter ? undefined : first.name,
    environment: first.environment,
    assets: first.hasAssets ? `${BUNDLE}/empty` : undefined,
    outdir: `${BUNDLE}/dir`,
    outfile: BUNDLE_FILE,
  });
  const ended = await next.withExec(["bun", ...ON_BUN, LAUNCHER, ...words], { expect: ReturnType.Any }).sync();
  const outcome = {
    exitCode: await ended.exitCode(),
    output: "",
    stdout: await ended.stdout(),
    stderr: await ended.stderr(),
  };
  return { ended, outcome };
}

/**
 * Returns a new container with the token and everything else that a request to Cloudflare needs. No code of the project
 * has run in it, and none will: the project's folder is data.
 *
 * The nonce is the last variable. Everything above is cached, and the engine cannot answer a run from its cache.
 */
export async function withCredentials(
  container: Container,
  wrangler: Directory,
  output: { project: Directory; bundle: File | undefined },
  access: Access,
): Promise<Container> {
  const program = dag.currentModule().source().directory("toolchain").file("prepare-upload.js");
  let next = container
    .withDirectory(TOOLCHAIN, wrangler)
    .withFile(PREPARE, program)
    .withDirectory(WORK, output.project)
    .withDirectory(UPLOAD, dag.directory())
    .withNewFile(OUTPUT, "");
  if (output.bundle !== undefined) next = next.withFile(BUNDLE_FILE, output.bundle);
  for (const [name, value] of Object.entries(ENVIRONMENT)) next = next.withEnvVariable(name, value);
  next = next
    .withEnvVariable("WRANGLER_OUTPUT_FILE_PATH", OUTPUT)
    .withEnvVariable("CLOUDFLARE_ACCOUNT_ID", access.accountId);
  if (access.api !== undefined) {
    const port = (await access.api.endpoint()).split(":").at(-1);
    next = next
      .withServiceBinding("api", access.api)
      .withEnvVariable("CLOUDFLARE_API_BASE_URL", `http://api:${port}/client/v4`);
  }
  return next.withSecretVariable("CLOUDFLARE_API_TOKEN", access.token).withEnvVariable("DEPLOY_NONCE", access.nonce);
}

/** The request to the program that prepares an upload, with paths in a container. */
export function prepareRequest(folder: string, first: First, isBundled: boolean, accountId: string): string {
  return JSON.stringify({
    root: WORK,
    project: folder,
    config: `${folder}/${first.name}`,
    environment: first.environment || null,
    redirected: first.adapter,
    bundle: isBundled ? BUNDLE_FILE : null,
    upload: `${UPLOAD}/folder`,
    account: accountId,
  });
}

/** Prepares the upload, and returns the container with its warnings. @throws When it is refused; then nothing was sent to Cloudflare. */
export async function prepare(
  container: Container,
  request: string,
  refuse: (reason: string) => void,
): Promise<{ ended: Container; warnings: string[] }> {
  const words = ["bun", "--no-env-file", "--config=/dev/null", PREPARE, request];
  const ended = await container.withWorkdir("/").withExec(words, { expect: ReturnType.Any }).sync();
  const exitCode = await ended.exitCode();
  const text = await ended.stderr();
  if (exitCode === 0) return { ended: ended.withWorkdir(`${UPLOAD}/folder`), warnings: warningsOf(text) };
  refuse((exitCode === REFUSED && refusalOf(text)) || `the upload could not be prepared: ${text.trim().split("\n").at(-1)}`);
  return { ended, warnings: [] };
}

/** Returns Cloudflare's answer about the deployments of `worker`, as `ASK` prints it. Without an answer it returns what the program printed. */
export async function deployments(container: Container, worker: string): Promise<string> {
  const asked = container.withExec(["bun", ...ON_BUN, "-e", ASK, worker], { expect: ReturnType.Any });
  return (await asked.stdout()) || (await asked.stderr());
}

/**
 * Runs wrangler exactly once, on Bun, and reads what it output. A failed run is an answer too, not an exception.
 *
 * @throws When the engine itself fails, or a signal ended wrangler: exit codes 128 to 191 are errors to the engine. Then the
 * remote side may have changed, and there is no record.
 */
export async function run(container: Container, step: Step): Promise<Outcome> {
  const ended = await container
    .withExec(["bun", ...ON_BUN, LAUNCHER, ...wranglerArguments(step)], { expect: ReturnType.Any })
    .sync();
  return {
    exitCode: await ended.exitCode(),
    output: await ended.file(OUTPUT).contents(),
    stdout: await ended.stdout(),
    stderr: await ended.stderr(),
  };
}
