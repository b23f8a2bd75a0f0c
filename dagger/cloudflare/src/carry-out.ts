import { dag, type Directory, type File, type Secret, type Service } from "@dagger.io/dagger";

import { strategyOf, type Command, type Step } from "./arguments.js";
import { missing } from "./deployed.js";
import { unfit } from "./left.js";
import { tail } from "./log.js";
import type { DeploymentRecord } from "./record.js";
import { distPath, publishes, refusal, site } from "./site.js";
import { verdict } from "./verdict.js";
import { armed, bun, deployments, look, project, readConfig, run, type Outcome } from "./wrangler.js";

/** What is asked for. */
export interface Request {
  command: Command;
  dist: Directory;
  wranglerConfig: File;
  cloudflareApiToken: Secret;
  source: Directory | undefined;
  api: Service | undefined;
  environment: string | undefined;
  tag: string | undefined;
  message: string | undefined;
  nonce: string | undefined;
  accountId: string | undefined;
  project: string | undefined;
  alias?: string | undefined;
  strategy?: string | undefined;
}

/** The file that an adapter leaves to say which config wrangler shall follow. It has no effect beside `--config`. */
const REDIRECT = ".wrangler/deploy/config.json";

/** The names that a wrangler config can have. */
const CONFIG_NAME = /^[\w.-]+\.(?:jsonc?|toml)$/;

/**
 * Runs wrangler once and returns the record of it.
 *
 * @throws When it is refused; then nothing was sent to Cloudflare.
 */
export async function carryOut(request: Request): Promise<DeploymentRecord> {
  const name = await request.wranglerConfig.name();
  if (!CONFIG_NAME.test(name)) throw new Error(`\`${name}\` is no wrangler config: wrangler.jsonc, .json or .toml`);
  const strategy = request.command === "preview" ? strategyOf(request.strategy) : undefined;
  const container = await bun();
  const found = site(await readConfig(container, request.wranglerConfig, name), request.environment);
  const accountId = request.accountId || (await dag.config().cloudflareAccountId(environmentOf(request)));
  const adapter = request.source !== undefined && (await request.source.glob(REDIRECT)).length > 0;
  const dist = publishes(found, adapter) ? request.dist : undefined;
  const refuse = (reason: string | undefined) => {
    if (reason !== undefined) throw new Error(`refused, nothing was changed: ${name}: ${reason}`);
  };
  refuse(
    refusal(found, {
      accountId,
      hasSource: request.source !== undefined,
      adapter,
      entries: await dist?.entries(),
      alias: request.alias,
      strategy,
    }),
  );
  const ready = await project(container, {
    dist,
    config: request.wranglerConfig,
    name,
    source: request.source,
    assets: found.assets,
  });
  if (dist !== undefined) {
    const left = await look(ready, distPath(found.assets), adapter ? REDIRECT : undefined);
    refuse(unfit(left, found.worker, accountId));
  }
  const step: Step = {
    command: request.command,
    config: adapter ? undefined : name,
    environment: found.wranglerEnvironment,
    tag: request.tag,
    message: request.message,
    alias: request.alias,
    strategy,
  };
  const nonce = request.nonce || crypto.randomUUID();
  const access = { accountId, token: request.cloudflareApiToken, nonce, api: request.api };
  const made = await armed(ready, access);
  if (strategy === "preview") refuse(missing(found.worker, await deployments(made, found.worker)));
  const outcome = await run(made, step);
  return record(request, step, nonce, found.worker, outcome);
}

function environmentOf(request: Request): { environment: string } | undefined {
  return request.environment ? { environment: request.environment } : undefined;
}

function record(request: Request, step: Step, nonce: string, worker: string, outcome: Outcome): DeploymentRecord {
  const judged = verdict(request.command, outcome.exitCode, outcome.output, step.strategy);
  return {
    schema: 1,
    command: request.command,
    ...(request.project && { project: request.project }),
    environment: request.environment ?? "",
    nonce,
    exitCode: outcome.exitCode,
    ...judged,
    workerName: judged.workerName ?? worker,
    tag: request.tag ?? "",
    message: request.message ?? "",
    ...(request.alias && { alias: request.alias }),
    ...(step.strategy === "preview" && { strategy: step.strategy }),
    log: tail(outcome.stdout, outcome.stderr),
  };
}
