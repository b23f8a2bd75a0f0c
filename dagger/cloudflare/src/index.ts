/**
 * Deploys and previews Cloudflare Workers with the wrangler that `toolchain/bun.lock` pins
 *
 * Every function bundles without a token, uploads once with it, and returns the record: a JSON file. A failed run is a
 * record too. The run succeeded when `exitCode` is 0, there is no `error`, and `nonce` is the one that was passed.
 */
import { argument, dag, func, object, type Directory, type File, type Secret, type Service } from "@dagger.io/dagger";

import { deploy } from "./deploy.js";
import { comment } from "./comment.js";
import { serialize, type DeploymentRecord } from "./record.js";

@object()
export class Cloudflare {
  /**
   * Uploads a project and makes it live
   *
   * Refused before anything changes: an empty `dist`, a private file or the token in what is published, and a wrangler
   * config that is about another account or needs sources that were not given.
   *
   * @param dist The folder that was built. It is put where the wrangler config's `assets.directory` says; a Worker without assets may be given any folder
   * @param wranglerConfig The wrangler config: `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`
   * @param cloudflareApiToken A token that may edit Workers
   * @param environment The environment of the shared configuration; also the wrangler config's block of that name, if it has one
   * @param source The project's folder, for a Worker whose code wrangler bundles
   * @param tag A tag kept with the version, at most 100 bytes
   * @param message A message kept with the version
   * @param nonce New for every attempt, found again in the record. Without it, a random one
   * @param api A stand-in of Cloudflare's API, such as `tcp://127.0.0.1:8787`
   * @param accountId The account. Without it, the environment's in the shared configuration
   * @param project The project's name, for the record
   * @param workspace The repository with everything installed and built, for a project that needs more than its own folder. Takes the place of `source`
   * @param path The project's folder in \`workspace\`
   * @param beforeDeploy Commands of wrangler that run with the token before the upload, as JSON: a list of objects with \`command\`, \`arguments\` and \`reads\`. Only \`d1 migrations apply\`, \`d1 execute\`, \`kv key put\`, \`kv bulk put\` and \`r2 object put\`
   * @param flags Flags of wrangler as JSON, a list of texts: `--minify`, `--no-bundle`, `--upload-source-maps`, `--keep-vars`, `--define`, `--jsx-factory`, `--jsx-fragment`
   */
  @func({ cache: "session" })
  async deploy(
    dist: Directory,
    wranglerConfig: File,
    cloudflareApiToken: Secret,
    environment?: string,
    @argument({
      ignore: [
        "**/node_modules",
        "**/.git",
        "**/.env",
        "**/.env.*",
        "**/.dev.vars*",
        "**/.wrangler/cache",
        "**/.wrangler/state",
        "**/.wrangler/tmp",
        "**/.xtask",
      ],
    })
    source?: Directory,
    tag?: string,
    message?: string,
    nonce?: string,
    api?: Service,
    accountId?: string,
    project?: string,
    workspace?: Directory,
    path?: string,
    beforeDeploy?: string,
    flags?: string,
  ): Promise<File> {
    const inputs = { dist, wranglerConfig, cloudflareApiToken, source, workspace, path, api };
    const values = { environment, tag, message, nonce, accountId, project, beforeDeploy, flags };
    return file(await deploy({ command: "deploy", ...inputs, ...values }));
  }

  /**
   * Uploads a version that is not live, under a preview alias
   *
   * The Worker must have been deployed once, with `preview_urls` set. Refused as `deploy` refuses, and for an alias that
   * Cloudflare would not take.
   *
   * @param dist The folder that was built. It is put where the wrangler config's `assets.directory` says; a Worker without assets may be given any folder
   * @param wranglerConfig The wrangler config: `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`
   * @param cloudflareApiToken A token that may edit Workers
   * @param alias The first part of the preview's host name. Without it, the version has only its own address
   * @param environment The environment of the shared configuration; also the wrangler config's block of that name, if it has one
   * @param source The project's folder, for a Worker whose code wrangler bundles
   * @param tag A tag kept with the version, at most 100 bytes
   * @param message A message kept with the version
   * @param nonce New for every attempt, found again in the record. Without it, a random one
   * @param api A stand-in of Cloudflare's API, such as `tcp://127.0.0.1:8787`
   * @param accountId The account. Without it, the environment's in the shared configuration
   * @param project The project's name, for the record
   * @param strategy `alias`, or `preview` for a Worker Preview called `alias`, with the bindings of the config's `previews` block. Refused where the Worker was never deployed: wrangler would make it
   * @param workspace The repository with everything installed and built, for a project that needs more than its own folder. Takes the place of `source`
   * @param path The project's folder in \`workspace\`
   * @param beforeDeploy Commands of wrangler that run with the token before the upload, as JSON: a list of objects with \`command\`, \`arguments\` and \`reads\`. Only \`d1 migrations apply\`, \`d1 execute\`, \`kv key put\`, \`kv bulk put\` and \`r2 object put\`
   * @param flags Flags of wrangler as JSON, a list of texts: `--minify`, `--no-bundle`, `--upload-source-maps`, `--keep-vars`, `--define`, `--jsx-factory`, `--jsx-fragment`
   */
  @func({ cache: "session" })
  async upload(
    dist: Directory,
    wranglerConfig: File,
    cloudflareApiToken: Secret,
    alias?: string,
    environment?: string,
    @argument({
      ignore: [
        "**/node_modules",
        "**/.git",
        "**/.env",
        "**/.env.*",
        "**/.dev.vars*",
        "**/.wrangler/cache",
        "**/.wrangler/state",
        "**/.wrangler/tmp",
        "**/.xtask",
      ],
    })
    source?: Directory,
    tag?: string,
    message?: string,
    nonce?: string,
    api?: Service,
    accountId?: string,
    project?: string,
    strategy?: string,
    workspace?: Directory,
    path?: string,
    beforeDeploy?: string,
    flags?: string,
  ): Promise<File> {
    const inputs = { dist, wranglerConfig, cloudflareApiToken, source, workspace, path, api };
    const values = { alias, environment, tag, message, nonce, accountId, project, strategy, beforeDeploy, flags };
    return file(await deploy({ command: "preview", ...inputs, ...values }));
  }

  /**
   * Uploads a version that is not live, and says in the merge request where it is
   *
   * As `upload`, then one comment, created or edited in place. A comment that cannot be written does not undo the
   * preview: the record says so in `comment`.
   *
   * @param dist The folder that was built. It is put where the wrangler config's `assets.directory` says; a Worker without assets may be given any folder
   * @param wranglerConfig The wrangler config: `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`
   * @param cloudflareApiToken A token that may edit Workers
   * @param gitlabApiToken A project or group access token with the scope `api`
   * @param mergeRequestId The merge request's number in its project, as in `!42`: `CI_MERGE_REQUEST_IID`
   * @param alias The first part of the preview's host name. Without it, `mr-` and the merge request's number
   * @param environment The environment of the shared configuration; also the wrangler config's block of that name, if it has one
   * @param source The project's folder, for a Worker whose code wrangler bundles
   * @param tag A tag kept with the version, at most 100 bytes
   * @param message A message kept with the version
   * @param nonce New for every attempt, found again in the record. Without it, a random one
   * @param api A stand-in of Cloudflare's API, such as `tcp://127.0.0.1:8787`
   * @param accountId The account. Without it, the environment's in the shared configuration
   * @param project The project's name, for the record and the comment
   * @param gitlabProjectId The GitLab project. Without it, the shared configuration's
   * @param gitlabApiUrl The address of GitLab's API: `CI_API_V4_URL`. Without it, the shared configuration's instance
   * @param strategy `alias`, or `preview` for a Worker Preview called `alias`, with the bindings of the config's `previews` block. Refused where the Worker was never deployed: wrangler would make it
   * @param workspace The repository with everything installed and built, for a project that needs more than its own folder. Takes the place of `source`
   * @param path The project's folder in \`workspace\`
   * @param flags Flags of wrangler as JSON, a list of texts: `--minify`, `--no-bundle`, `--upload-source-maps`, `--keep-vars`, `--define`, `--jsx-factory`, `--jsx-fragment`
   */
  @func({ cache: "session" })
  async preview(
    dist: Directory,
    wranglerConfig: File,
    cloudflareApiToken: Secret,
    gitlabApiToken: Secret,
    mergeRequestId: string,
    alias?: string,
    environment?: string,
    @argument({
      ignore: [
        "**/node_modules",
        "**/.git",
        "**/.env",
        "**/.env.*",
        "**/.dev.vars*",
        "**/.wrangler/cache",
        "**/.wrangler/state",
        "**/.wrangler/tmp",
        "**/.xtask",
      ],
    })
    source?: Directory,
    tag?: string,
    message?: string,
    nonce?: string,
    api?: Service,
    accountId?: string,
    project?: string,
    gitlabProjectId?: string,
    gitlabApiUrl?: string,
    strategy?: string,
    workspace?: Directory,
    path?: string,
    flags?: string,
  ): Promise<File> {
    if (!/^[1-9][0-9]*$/.test(mergeRequestId)) throw new Error(`\`${mergeRequestId}\` is no merge request number`);
    const inputs = { dist, wranglerConfig, cloudflareApiToken, source, workspace, path, api };
    const values = { alias: alias ?? `mr-${mergeRequestId}`, environment, tag, message, nonce, accountId, project, strategy, flags };
    const record = await deploy({ command: "preview", ...inputs, ...values });
    record.comment = await post(record, gitlabApiToken, mergeRequestId, gitlabProjectId, gitlabApiUrl);
    return file(record);
  }
}

/** Writes the comment. Whatever becomes of it, the version is uploaded, so a failure is data. */
async function post(
  record: DeploymentRecord,
  token: Secret,
  mergeRequest: string,
  projectId: string | undefined,
  apiUrl: string | undefined,
): Promise<string> {
  const marker = `preview ${record.project ?? record.workerName ?? "site"}`;
  const place = { marker, nonce: record.nonce, ...(projectId && { projectId }), ...(apiUrl && { apiUrl }) };
  try {
    const answer = await dag.gitlab().postMergeRequestComment(token, mergeRequest, comment(record), place);
    return (JSON.parse(answer) as { action: string }).action;
  } catch (error) {
    return `failed: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function file(record: DeploymentRecord): File {
  return dag.file(`${record.command}.json`, serialize(record));
}
