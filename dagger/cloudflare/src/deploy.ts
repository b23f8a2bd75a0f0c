import { dag, type Directory, type File, type Secret, type Service } from "@dagger.io/dagger";

import { parseBeforeDeploy, parseFlags, parseStrategy, type Command, type UploadStep } from "./arguments.js";
import { missingWorker } from "./deployments.js";
import { tail } from "./log.js";
import type { DeploymentRecord } from "./record.js";
import { hasAssets, refusal, site } from "./site.js";
import { verdict } from "./verdict.js";
import {
  BUNDLE_FILE,
  bundle,
  bun,
  deployments,
  prepare,
  prepareRequest,
  project,
  readConfig,
  run,
  runSteps,
  toolchain,
  withCredentials,
  WORK,
  type BundleRequest,
  type RunOutcome,
} from "./wrangler.js";

/** The arguments of a function of the module. */
export interface Request {
  command: Command;
  dist: Directory;
  wranglerConfig: File;
  cloudflareApiToken: Secret;
  source: Directory | undefined;
  workspace: Directory | undefined;
  path: string | undefined;
  api: Service | undefined;
  environment: string | undefined;
  tag: string | undefined;
  message: string | undefined;
  nonce: string | undefined;
  accountId: string | undefined;
  project: string | undefined;
  alias?: string | undefined;
  strategy?: string | undefined;
  beforeDeploy?: string | undefined;
  flags?: string | undefined;
  workerName?: string | undefined;
}

/** The file in which an adapter names the config for wrangler. It has no effect together with `--config`. */
const REDIRECT = ".wrangler/deploy/config.json";

/** The valid names of a wrangler config. */
const CONFIG_NAME = /^[\w.-]+\.(?:jsonc?|toml)$/;

/**
 * Deploys or previews in two steps and returns the record. The first step bundles: it runs code of the project and has
 * no token. The second step has the token and uploads checked files with a generated config.
 *
 * @throws If it is refused. Then no request was sent to Cloudflare.
 */
export async function deploy(request: Request): Promise<DeploymentRecord> {
  const name = await request.wranglerConfig.name();
  if (!CONFIG_NAME.test(name)) throw new Error(`\`${name}\` is not a wrangler config: wrangler.jsonc, .json or .toml`);
  const strategy = request.command === "preview" ? parseStrategy(request.strategy) : undefined;
  const steps = parseBeforeDeploy(request.beforeDeploy);
  const flags = parseFlags(request.flags);
  const container = await bun();
  const settings = site(await readConfig(container, request.wranglerConfig, name), request.environment, request.workerName);
  const accountId = request.accountId || (await dag.config().cloudflareAccountId(environmentOf(request)));
  const path = projectPath(request);
  const sources = request.workspace?.directory(path) ?? request.source;
  const adapter = sources !== undefined && (await sources.glob(REDIRECT)).length > 0;
  const dist = hasAssets(settings, adapter, request.workspace !== undefined) ? request.dist : undefined;
  const refuse = (reason: string | undefined) => {
    if (reason !== undefined) throw new Error(`refused, nothing was changed: ${name}: ${reason}`);
  };
  refuse(
    refusal(settings, {
      accountId,
      hasSource: sources !== undefined,
      adapter,
      entries: await dist?.entries(),
      alias: request.alias,
      strategy,
    }),
  );
  const environment = settings.wranglerEnvironment;
  const step: UploadStep = {
    command: request.command,
    environment,
    tag: request.tag,
    message: request.message,
    alias: request.alias,
    strategy,
    flags: flags.upload,
  };
  const nonce = request.nonce || crypto.randomUUID();
  const { wranglerConfig: config, source, workspace } = request;
  const folder = path === "." ? WORK : `${WORK}/${path}`;
  const ready = await project(container, { dist, config, name, source, workspace, folder, assets: settings.assets });
  const wrangler = toolchain(container);
  const first: BundleRequest = { name, environment, adapter, hasAssets: settings.assets !== undefined || adapter, flags: flags.bundle, workerName: request.workerName };
  const isBundled = settings.hasCode || settings.builds || adapter;
  const bundled = isBundled ? await bundle(ready, wrangler, first) : undefined;
  if (bundled !== undefined && bundled.outcome.exitCode !== 0) {
    return record(request, step, nonce, settings.worker, bundled.outcome);
  }
  const output = {
    project: (bundled?.finished ?? ready).directory(WORK),
    bundle: bundled?.finished.file(BUNDLE_FILE),
  };
  const access = { accountId, token: request.cloudflareApiToken, nonce, api: request.api };
  const uploader = await withCredentials(container, wrangler, output, access);
  const prepared = await prepare(uploader, prepareRequest(folder, first, isBundled, accountId, steps), refuse);
  if (strategy === "preview") refuse(missingWorker(settings.worker, await deployments(prepared.finished, settings.worker)));
  const { finished, done, failed } = await runSteps(prepared.finished, folder, first, steps);
  const results = done.map(({ command }) => ({ command, isOk: true }));
  if (failed !== undefined) {
    const { command } = failed.step;
    const stopped = record(request, step, nonce, settings.worker, failed.outcome, prepared.warnings);
    stopped.error = `the step \`${command}\` of \`xtask.beforeDeploy\` exited with ${failed.outcome.exitCode}; nothing was uploaded`;
    return { ...stopped, steps: [...results, { command, isOk: false }] };
  }
  const outcome = await run(steps.length > 0 ? finished : prepared.finished, step);
  const uploaded = record(request, step, nonce, settings.worker, outcome, prepared.warnings);
  return results.length > 0 ? { ...uploaded, steps: results } : uploaded;
}

/** Returns the folder of the project in the workspace. @throws If the path leads out of the workspace. */
function projectPath({ workspace, path }: Request): string {
  if (workspace === undefined || path === undefined || path === "." || path === "") return ".";
  const isInside = path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (!isInside) throw new Error(`refused, nothing was changed: \`${path}\` is not a folder of the workspace`);
  return path;
}

function environmentOf(request: Request): { environment: string } | undefined {
  return request.environment ? { environment: request.environment } : undefined;
}

function record(request: Request, step: UploadStep, nonce: string, worker: string, outcome: RunOutcome, warnings: string[] = []): DeploymentRecord {
  const result = verdict(request.command, outcome.exitCode, outcome.output, step.strategy);
  return {
    schema: 1,
    command: request.command,
    ...(request.project && { project: request.project }),
    environment: request.environment ?? "",
    nonce,
    exitCode: outcome.exitCode,
    ...result,
    workerName: result.workerName ?? worker,
    tag: request.tag ?? "",
    message: request.message ?? "",
    ...(request.alias && { alias: request.alias }),
    ...(step.strategy === "preview" && { strategy: step.strategy }),
    ...(warnings.length > 0 && { warnings }),
    log: tail(outcome.stdout, outcome.stderr),
  };
}
