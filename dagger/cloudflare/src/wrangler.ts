import {
  dag,
  ReturnType,
  type Container,
  type Directory,
  type File,
  type Secret,
  type Service,
} from "@dagger.io/dagger";

import { ENVIRONMENT, ON_BUN, wranglerArguments, type Step } from "./arguments.js";
import { ASK } from "./deployed.js";
import { LOOK, type Left } from "./left.js";
import { distPath } from "./site.js";

/** Where the project is in the container. */
const WORK = "/src";

/** Where wrangler is installed. */
const TOOLCHAIN = "/toolchain";

/** Where Bun keeps downloaded packages, between runs. */
const CACHE = "/var/cache/bun";

/** Where wrangler writes what it did. */
const OUTPUT = "/output/wrangler.ndjson";

/** Prints the config that its last argument names as JSON, read by Bun's own parsers. */
export const READ_CONFIG = "process.stdout.write(JSON.stringify((await import(process.argv.at(-1))).default))";

/** What wrangler is run on. */
export interface Inputs {
  /** What was built, where something is published. */
  dist: Directory | undefined;
  config: File;
  /** The config's file name. */
  name: string;
  source: Directory | undefined;
  /** Where `dist` belongs, relative to the config: its `assets.directory`. */
  assets: string | undefined;
}

/** Everything that is between a container with wrangler and the run. */
export interface Access {
  accountId: string;
  token: Secret;
  nonce: string;
  api: Service | undefined;
}

/** What a run left. */
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
 * The project as wrangler needs it: the sources, if wrangler bundles them, then the config and what was built. Installed
 * dependencies are those of the sources' own lock file.
 */
export async function project(container: Container, inputs: Inputs): Promise<Container> {
  let made = install(container).withWorkdir(WORK);
  if (inputs.source !== undefined) {
    made = made.withDirectory(WORK, inputs.source);
    if ((await inputs.source.glob("bun.lock")).length > 0)
      made = made.withExec(["bun", "install", "--frozen-lockfile"]);
  }
  made = made.withFile(`${WORK}/${inputs.name}`, inputs.config);
  if (inputs.dist === undefined) return made;
  const dist = `${WORK}/${distPath(inputs.assets)}`;
  return made.withoutDirectory(dist).withDirectory(dist, inputs.dist);
}

/** What a build left in the project that `container` holds. Looked at from elsewhere, where no file of the project steers Bun. */
export async function look(container: Container, folder: string | undefined, redirect: string | undefined): Promise<Left> {
  const place = JSON.stringify({ root: WORK, folder, redirect });
  return JSON.parse(await container.withWorkdir("/").withExec(["bun", "-e", LOOK, place]).stdout()) as Left;
}

/** Installs the wrangler that `toolchain/bun.lock` pins. None of its packages' install scripts is needed. */
function install(container: Container): Container {
  const toolchain = dag.currentModule().source().directory("toolchain");
  return container
    .withFile(`${TOOLCHAIN}/package.json`, toolchain.file("package.json"))
    .withFile(`${TOOLCHAIN}/bun.lock`, toolchain.file("bun.lock"))
    .withWorkdir(TOOLCHAIN)
    .withExec(["bun", "install", "--frozen-lockfile", "--ignore-scripts"]);
}

/**
 * The container with the token and everything else that a request to Cloudflare needs.
 *
 * The nonce stands directly before what is run there: everything above is cached, and the engine cannot answer a run from
 * its cache.
 */
export async function armed(container: Container, access: Access): Promise<Container> {
  let made = container.withNewFile(OUTPUT, "");
  for (const [name, value] of Object.entries(ENVIRONMENT)) made = made.withEnvVariable(name, value);
  made = made
    .withEnvVariable("WRANGLER_OUTPUT_FILE_PATH", OUTPUT)
    .withEnvVariable("CLOUDFLARE_ACCOUNT_ID", access.accountId);
  if (access.api !== undefined) {
    const port = (await access.api.endpoint()).split(":").at(-1);
    made = made
      .withServiceBinding("api", access.api)
      .withEnvVariable("CLOUDFLARE_API_BASE_URL", `http://api:${port}/client/v4`);
  }
  return made.withSecretVariable("CLOUDFLARE_API_TOKEN", access.token).withEnvVariable("DEPLOY_NONCE", access.nonce);
}

/** Cloudflare's answer about the deployments of `worker`, as `ASK` prints it; something else where there was none. */
export async function deployments(container: Container, worker: string): Promise<string> {
  const asked = container.withExec(["bun", ...ON_BUN, "-e", ASK, worker], { expect: ReturnType.Any });
  return (await asked.stdout()) || (await asked.stderr());
}

/**
 * Runs wrangler exactly once, on Bun, and reads what it left. A failed run is an answer too, not an exception.
 *
 * @throws When the engine itself fails, or a signal ended wrangler: exit codes 128 to 191 are errors to the engine. Then the
 * remote side may have changed, and there is no record.
 */
export async function run(container: Container, step: Step): Promise<Outcome> {
  const ended = await container
    .withExec(["bun", ...ON_BUN, `${TOOLCHAIN}/node_modules/wrangler/bin/wrangler.js`, ...wranglerArguments(step)], {
      expect: ReturnType.Any,
    })
    .sync();
  return {
    exitCode: await ended.exitCode(),
    output: await ended.file(OUTPUT).contents(),
    stdout: await ended.stdout(),
    stderr: await ended.stderr(),
  };
}
