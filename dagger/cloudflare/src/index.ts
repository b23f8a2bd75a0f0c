/**
 * Deploys and previews Cloudflare Workers with the wrangler that `toolchain/bun.lock` pins
 *
 * The constructor selects the account, and `withSource` and other `with` functions the project's code. `deploy`, `upload` and
 * `preview` run wrangler once: they bundle without the token and upload with it. Each returns a `Deployment`, even if the run
 * failed.
 */
import { argument, dag, func, object, type Directory, type File, type Secret, type Service } from "@dagger.io/dagger";

import { comment } from "./comment.js";
import { deploy, type Request } from "./deploy.js";
import { Deployment, deploymentOf } from "./deployment.js";
import type { DeploymentRecord } from "./record.js";

/** Paths that no container gets: files that are installed or generated again, git's data, and files with secrets. */
const IGNORED = [
  "**/node_modules",
  "**/.git",
  "**/.env",
  "**/.env.*",
  "**/.dev.vars*",
  "**/.wrangler/cache",
  "**/.wrangler/state",
  "**/.wrangler/tmp",
  "**/.xtask",
];

@object()
export class Cloudflare {
  private readonly environment: string | undefined;
  private readonly account: string | undefined;
  private readonly api: Service | undefined;
  private source: Directory | undefined;
  private workspace: Directory | undefined;
  private path: string | undefined;
  private flags: string | undefined;
  private workerName: string | undefined;
  private beforeDeploy: string | undefined;

  /**
   * @param environment The environment of the shared configuration; also the wrangler config's block of that name, if it has one
   * @param account The id of the account. Without it, the environment's in the shared configuration
   * @param api A stand-in for Cloudflare's API, and for GitLab's in `preview`, such as `tcp://127.0.0.1:8787`
   */
  // Not `accountId`: Dagger would use wrangler's `CLOUDFLARE_ACCOUNT_ID` in a `.env` file as this argument.
  constructor(environment?: string, account?: string, api?: Service) {
    this.environment = environment;
    this.account = account;
    this.api = api;
  }

  /**
   * With the project's folder, for a Worker whose code wrangler bundles
   *
   * @param source The folder of the wrangler config. With a `bun.lock`, its dependencies are installed
   */
  @func()
  withSource(@argument({ ignore: IGNORED }) source: Directory): Cloudflare {
    this.source = source;
    return this;
  }

  /**
   * With the repository, for a project that needs more than its own folder
   *
   * @param workspace The repository with everything installed and built
   * @param path The project's folder in it
   */
  @func()
  withWorkspace(workspace: Directory, path: string): Cloudflare {
    this.workspace = workspace;
    this.path = path;
    return this;
  }

  /**
   * With flags of wrangler
   *
   * @param flags A JSON array of strings: `--minify`, `--no-bundle`, `--upload-source-maps`, `--keep-vars`,
   * `--define`, `--jsx-factory`, `--jsx-fragment`
   */
  @func()
  withFlags(flags: string): Cloudflare {
    this.flags = flags;
    return this;
  }

  /**
   * With a name for the Worker
   *
   * @param workerName It replaces a missing `name` at the top level of the wrangler config
   */
  @func()
  withWorkerName(workerName: string): Cloudflare {
    this.workerName = workerName;
    return this;
  }

  /**
   * With commands of wrangler that run with the token before the upload
   *
   * @param steps A JSON array of objects with `command`, `arguments` and `reads`. Only `d1 migrations apply`, `d1
   * execute`, `kv key put`, `kv bulk put` and `r2 object put`
   */
  @func()
  withBeforeDeploy(steps: string): Cloudflare {
    this.beforeDeploy = steps;
    return this;
  }

  /**
   * Uploads a project and makes it live
   *
   * Refuses before anything changes: an empty `dist`, a private file or the token among the published files, and a wrangler
   * config that names another account or needs sources that are missing.
   *
   * @param dist The built folder. It replaces the wrangler config's `assets.directory`. A Worker without assets ignores it
   * @param wranglerConfig The wrangler config: `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`
   * @param cloudflareApiToken A token with the permission to edit Workers
   * @param tag Stored with the version, at most 100 bytes
   * @param message Stored with the version
   * @param nonce A new value for each attempt, which the record repeats. Without it, a random one
   * @param project The project's name, for the record
   */
  @func({ cache: "session" })
  async deploy(
    dist: Directory,
    wranglerConfig: File,
    cloudflareApiToken: Secret,
    tag?: string,
    message?: string,
    nonce?: string,
    project?: string,
  ): Promise<Deployment> {
    const values = { dist, wranglerConfig, cloudflareApiToken, tag, message, nonce, project };
    return deploymentOf(await deploy({ command: "deploy", ...this.inputs(), ...values }));
  }

  /**
   * Uploads a version that is not live, under a preview alias
   *
   * The Worker must have been deployed once with `preview_urls` set. Refuses the same as `deploy`, and an alias that
   * Cloudflare would reject.
   *
   * @param dist The built folder. It replaces the wrangler config's `assets.directory`. A Worker without assets ignores it
   * @param wranglerConfig The wrangler config: `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`
   * @param cloudflareApiToken A token with the permission to edit Workers
   * @param alias The first part of the preview's host name. Without it, the version has only its own address
   * @param tag Stored with the version, at most 100 bytes
   * @param message Stored with the version
   * @param nonce A new value for each attempt, which the record repeats. Without it, a random one
   * @param project The project's name, for the record
   * @param strategy `alias`, or `preview` for a Worker Preview called `alias`, with the bindings of the config's `previews` block. Refused if the Worker was never deployed, because wrangler would create it
   */
  @func({ cache: "session" })
  async upload(
    dist: Directory,
    wranglerConfig: File,
    cloudflareApiToken: Secret,
    alias?: string,
    tag?: string,
    message?: string,
    nonce?: string,
    project?: string,
    strategy?: string,
  ): Promise<Deployment> {
    const values = { dist, wranglerConfig, cloudflareApiToken, alias, tag, message, nonce, project, strategy };
    return deploymentOf(await deploy({ command: "preview", ...this.inputs(), ...values }));
  }

  /**
   * Uploads a version that is not live, and comments on the merge request with its URLs
   *
   * Uploads as `upload` does, then creates one comment or edits it in place. If the comment fails, the preview stays, and
   * the record has the reason in `comment`.
   *
   * @param dist The built folder. It replaces the wrangler config's `assets.directory`. A Worker without assets ignores it
   * @param wranglerConfig The wrangler config: `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`
   * @param cloudflareApiToken A token with the permission to edit Workers
   * @param gitlabApiToken A project or group access token with the scope `api`
   * @param mergeRequestId The merge request's number in its project, as in `!42`: `CI_MERGE_REQUEST_IID`
   * @param alias The first part of the preview's host name. Without it, `mr-` and the merge request's number
   * @param tag Stored with the version, at most 100 bytes
   * @param message Stored with the version
   * @param nonce A new value for each attempt, which the record repeats. Without it, a random one
   * @param project The project's name, for the record and the comment
   * @param strategy `alias`, or `preview` for a Worker Preview called `alias`, with the bindings of the config's `previews` block. Refused if the Worker was never deployed, because wrangler would create it
   * @param gitlabProjectId The GitLab project. Without it, the shared configuration's
   * @param gitlabApiUrl The address of GitLab's API: `CI_API_V4_URL`. Without it, the shared configuration's instance
   */
  @func({ cache: "session" })
  async preview(
    dist: Directory,
    wranglerConfig: File,
    cloudflareApiToken: Secret,
    gitlabApiToken: Secret,
    mergeRequestId: string,
    alias?: string,
    tag?: string,
    message?: string,
    nonce?: string,
    project?: string,
    strategy?: string,
    gitlabProjectId?: string,
    gitlabApiUrl?: string,
  ): Promise<Deployment> {
    if (!/^[1-9][0-9]*$/.test(mergeRequestId)) throw new Error(`\`${mergeRequestId}\` is not a merge request number`);
    const uploaded = { alias: alias ?? `mr-${mergeRequestId}`, tag, message, nonce, project, strategy };
    const values = { dist, wranglerConfig, cloudflareApiToken, ...uploaded };
    const record = await deploy({ command: "preview", ...this.inputs(), ...values });
    record.comment = await this.post(record, gitlabApiToken, mergeRequestId, gitlabProjectId, gitlabApiUrl);
    return deploymentOf(record);
  }

  /** Writes the comment. The version is already uploaded, so a failure is data. */
  private async post(
    record: DeploymentRecord,
    token: Secret,
    mergeRequest: string,
    projectId: string | undefined,
    apiUrl: string | undefined,
  ): Promise<string> {
    const marker = `preview ${record.project ?? record.workerName ?? "site"}`;
    const options = {
      marker,
      nonce: record.nonce,
      ...(projectId && { projectId }),
      ...(apiUrl && { apiUrl }),
      ...(this.api && { api: this.api }),
    };
    try {
      const result = await dag.gitlab().postMergeRequestComment(token, mergeRequest, comment(record), options);
      return (JSON.parse(result) as { action: string }).action;
    } catch (error) {
      return `failed: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  /** Returns the arguments of the constructor and of the `with` functions. */
  private inputs(): Pick<Request, "environment" | "accountId" | "api" | "source" | "workspace" | "path" | "flags" | "workerName" | "beforeDeploy"> {
    const { environment, account: accountId, api, source, workspace, path, flags, workerName, beforeDeploy } = this;
    return { environment, accountId, api, source, workspace, path, flags, workerName, beforeDeploy };
  }
}
