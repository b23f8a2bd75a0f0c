import {
  dag,
  ReturnType,
  type Container,
  type Directory,
  type File,
  type Secret,
  type Service,
} from "@dagger.io/dagger";

import { bundleArguments, WRANGLER_ENV, BUN_OPTIONS, stepArguments, wranglerArguments, type BeforeDeploy, type UploadStep } from "./arguments.js";
import { READ_DEPLOYMENTS } from "./deployments.js";
import { REFUSAL_EXIT_CODE, parseRefusal, parseWarnings } from "./refusal.js";
import { distPath } from "./site.js";
import { posix } from "node:path";

/** The folder of the project in the container. */
export const WORK = "/src";

/** The folder of wrangler. */
const TOOLCHAIN = "/toolchain";

/** The launcher of wrangler. */
const LAUNCHER = `${TOOLCHAIN}/node_modules/wrangler/bin/wrangler.js`;

/** Bun's cache of downloaded packages. */
const CACHE = "/var/cache/bun";

/** Wrangler's output file. */
const OUTPUT = "/output/wrangler.ndjson";

/** A script that prints a config as JSON, read by Bun's parsers. Its path is the last argument. */
export const READ_CONFIG = "process.stdout.write(JSON.stringify((await import(process.argv.at(-1))).default))";

/** The program that prepares an upload, in the container. */
const PREPARE = "/prepare-upload.js";

/** The folder that the program writes and wrangler uploads. */
const UPLOAD = "/upload";

/** The folder of the first step's output. */
const BUNDLE = "/bundle";

/** The bundle, which the first step writes. */
export const BUNDLE_FILE = `${BUNDLE}/bundle.form`;

/** The inputs of a deployment. */
export interface ProjectInputs {
  /** The built folder. `undefined` if nothing is published. */
  dist: Directory | undefined;
  config: File;
  /** The config's file name. */
  name: string;
  source: Directory | undefined;
  /** The repository with all dependencies installed and built. `undefined` if `source` is installed in the container. */
  workspace: Directory | undefined;
  /** The folder of the project in the container. */
  folder: string;
  /** The path of `dist`, relative to the config: its `assets.directory`. */
  assets: string | undefined;
}

/** The inputs of the first step, which bundles. */
export interface BundleRequest {
  /** The config's file name. */
  name: string;
  environment: string | undefined;
  /** `true` if wrangler follows the config that an adapter generated. */
  adapter: boolean;
  /** `true` if the config that wrangler follows has assets. */
  hasAssets: boolean;
  /** Flags of the project. */
  flags: readonly string[];
  /** The name that replaces a missing one at the top level of the config. */
  workerName?: string | undefined;
}

/** The access to Cloudflare's API. */
export interface CloudflareAccess {
  accountId: string;
  token: Secret;
  nonce: string;
  api: Service | undefined;
}

/** The result of a run. */
export interface RunOutcome {
  exitCode: number;
  /** The text of wrangler's output file. */
  output: string;
  stdout: string;
  stderr: string;
}

/** Returns a container with Bun and its package cache. */
export async function bun(): Promise<Container> {
  return dag
    .container()
    .from(await dag.config().image("bun"))
    .withMountedCache(CACHE, dag.cacheVolume("bun-install"))
    .withEnvVariable("BUN_INSTALL_CACHE_DIR", CACHE);
}

/** Reads the wrangler config. JSON may have comments, so every JSON config is read as JSONC. */
export async function readConfig(container: Container, config: File, name: string): Promise<unknown> {
  const path = name.endsWith(".toml") ? "/config/wrangler.toml" : "/config/wrangler.jsonc";
  const json = await container.withFile(path, config).withExec(["bun", "-e", READ_CONFIG, path]).stdout();
  return JSON.parse(json);
}

/**
 * Returns a container with the project: the sources, if wrangler bundles them, then the config and the built folder.
 * Dependencies come from the lock file of the sources. Their install scripts run in this container, which has no token.
 */
export async function project(container: Container, inputs: ProjectInputs): Promise<Container> {
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

/** Returns the folder with the wrangler that `toolchain/bun.lock` pins. Its packages need no install scripts. */
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
 * Bundles the code of the project, the first step. All code of the project runs in this step, without a token. A failed
 * run is returned as an outcome, not thrown.
 */
export async function bundle(ready: Container, wrangler: Directory, first: BundleRequest): Promise<{ finished: Container; outcome: RunOutcome }> {
  let next = ready.withDirectory(TOOLCHAIN, wrangler).withDirectory(`${BUNDLE}/empty`, dag.directory());
  for (const [name, value] of Object.entries(WRANGLER_ENV)) next = next.withEnvVariable(name, value);
  const words = bundleArguments({
    config: first.adapter ? undefined : first.name,
    environment: first.environment,
    assets: first.hasAssets ? `${BUNDLE}/empty` : undefined,
    outdir: `${BUNDLE}/dir`,
    outfile: BUNDLE_FILE,
    flags: first.flags,
    workerName: first.workerName,
  });
  const finished = await next.withExec(["bun", ...BUN_OPTIONS, LAUNCHER, ...words], { expect: ReturnType.Any }).sync();
  const outcome = {
    exitCode: await finished.exitCode(),
    output: "",
    stdout: await finished.stdout(),
    stderr: await finished.stderr(),
  };
  return { finished, outcome };
}

/**
 * Returns a new container with the token and everything else that a request to Cloudflare needs. No code of the project
 * runs in it: the project's folder is data.
 *
 * The nonce is the last variable. All layers before it are cached, and the engine cannot reuse an earlier run.
 */
export async function withCredentials(
  container: Container,
  wrangler: Directory,
  output: { project: Directory; bundle: File | undefined },
  access: CloudflareAccess,
): Promise<Container> {
  const program = dag.currentModule().source().directory("toolchain").file("prepare-upload.js");
  let next = container
    .withDirectory(TOOLCHAIN, wrangler)
    .withFile(PREPARE, program)
    .withDirectory(WORK, output.project)
    .withDirectory(UPLOAD, dag.directory())
    .withNewFile(OUTPUT, "");
  if (output.bundle !== undefined) next = next.withFile(BUNDLE_FILE, output.bundle);
  for (const [name, value] of Object.entries(WRANGLER_ENV)) next = next.withEnvVariable(name, value);
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

/** Returns the request to the program that prepares an upload, with paths in the container. */
export function prepareRequest(folder: string, first: BundleRequest, isBundled: boolean, accountId: string, steps: BeforeDeploy[]): string {
  return JSON.stringify({
    root: WORK,
    project: folder,
    config: `${folder}/${first.name}`,
    environment: first.environment || null,
    redirected: first.adapter,
    bundle: isBundled ? BUNDLE_FILE : null,
    upload: `${UPLOAD}/folder`,
    account: accountId,
    name: first.workerName ?? null,
    reads: steps.flatMap((step) => step.reads.map((path) => posix.join(WORK, path))),
  });
}

/** Prepares the upload. Returns the container and the warnings. @throws If it is refused. Then no request was sent to Cloudflare. */
export async function prepare(
  container: Container,
  request: string,
  refuse: (reason: string) => void,
): Promise<{ finished: Container; warnings: string[] }> {
  const words = ["bun", "--no-env-file", "--config=/dev/null", PREPARE, request];
  const finished = await container.withWorkdir("/").withExec(words, { expect: ReturnType.Any }).sync();
  const exitCode = await finished.exitCode();
  const text = await finished.stderr();
  if (exitCode === 0) return { finished: finished.withWorkdir(`${UPLOAD}/folder`), warnings: parseWarnings(text) };
  refuse((exitCode === REFUSAL_EXIT_CODE && parseRefusal(text)) || `the upload could not be prepared: ${text.trim().split("\n").at(-1)}`);
  return { finished, warnings: [] };
}

/** Returns Cloudflare's response about the deployments of `worker`. If the script failed, returns its stderr. */
export async function deployments(container: Container, worker: string): Promise<string> {
  const script = container.withExec(["bun", ...BUN_OPTIONS, "-e", READ_DEPLOYMENTS, worker], { expect: ReturnType.Any });
  return (await script.stdout()) || (await script.stderr());
}

/** The first step before the upload that failed. */
export interface FailedStep {
  step: BeforeDeploy;
  outcome: RunOutcome;
}

/**
 * Runs the steps before the upload, which wait for each other, up to the first that fails. Nothing of the project runs:
 * each is a command of wrangler that reads data.
 */
export async function runSteps(
  container: Container,
  folder: string,
  first: BundleRequest,
  steps: BeforeDeploy[],
): Promise<{ finished: Container; done: BeforeDeploy[]; failed?: FailedStep }> {
  let next = container.withWorkdir(folder);
  const done: BeforeDeploy[] = [];
  for (const step of steps) {
    const words = ["bun", ...BUN_OPTIONS, LAUNCHER, ...stepArguments(first.name, first.environment, step)];
    next = await next.withExec(words, { expect: ReturnType.Any }).sync();
    const exitCode = await next.exitCode();
    if (exitCode !== 0) {
      const outcome = { exitCode, output: "", stdout: await next.stdout(), stderr: await next.stderr() };
      return { finished: next, done, failed: { step, outcome } };
    }
    done.push(step);
  }
  return { finished: next.withWorkdir(`${UPLOAD}/folder`), done };
}

/**
 * Runs wrangler exactly once, on Bun, and reads its output. A failed run is returned as an outcome, not thrown.
 *
 * @throws If the engine fails or a signal ended wrangler, because exit codes 128 to 191 are errors of the engine. Then the
 * remote state may have changed, and there is no record.
 */
export async function run(container: Container, step: UploadStep): Promise<RunOutcome> {
  const finished = await container
    .withExec(["bun", ...BUN_OPTIONS, LAUNCHER, ...wranglerArguments(step)], { expect: ReturnType.Any })
    .sync();
  return {
    exitCode: await finished.exitCode(),
    output: await finished.file(OUTPUT).contents(),
    stdout: await finished.stdout(),
    stderr: await finished.stderr(),
  };
}
