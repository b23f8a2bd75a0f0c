/**
 * Comments on merge requests of GitLab
 *
 * Needs a project or group access token with the scope `api`. A job token may read comments but not write them.
 */
import { dag, func, object, ReturnType, type File, type Secret, type Service } from "@dagger.io/dagger";

import type { CommentTask } from "./main.js";

/** Paths in the container, and Bun's command line, which ignores settings files. */
const TASK = "/comment.json";
const AUTHORITY = "/authority.pem";
const RUN = ["bun", "--no-env-file", "--config=/dev/null", "/module/main.ts", TASK];

@object()
export class Gitlab {
  /**
   * Creates or edits the comment of a merge request that has a marker, and returns the result as JSON
   *
   * The result has `action` (`created`, `edited` or `unchanged`), `note` (its id) and `removed` (ids of duplicates).
   *
   * @param token A project or group access token with the scope `api`
   * @param mergeRequestIid The merge request's number in its project, as in `!42`: `CI_MERGE_REQUEST_IID`
   * @param body The text in Markdown. Lines that start with a slash are escaped, so that GitLab does not run them
   * @param projectId The project's number or full path. Without it, the shared configuration's
   * @param apiUrl The URL of the API: `CI_API_V4_URL`. Without it, the shared configuration's instance
   * @param marker Distinguishes this comment from others by the same user. It is not shown
   * @param nonce A new value for each attempt, so that no cached result is returned. Without it, a random one
   * @param api A stand-in for GitLab's API, such as `tcp://127.0.0.1:8787`. The path is that of `apiUrl`
   * @param caFile The certificates of a private certificate authority, in PEM
   * @param proxy The URL of a proxy, such as `env://HTTPS_PROXY`. It may contain a password
   * @param noProxy Hosts that bypass the proxy, as in `NO_PROXY`
   */
  @func({ cache: "session" })
  async postMergeRequestComment(
    token: Secret,
    mergeRequestIid: string,
    body: string,
    projectId?: string,
    apiUrl?: string,
    marker: string = "dagger",
    nonce?: string,
    api?: Service,
    caFile?: File,
    proxy?: Secret,
    noProxy?: string,
  ): Promise<string> {
    if (!/^[1-9][0-9]*$/.test(mergeRequestIid)) throw new Error(`\`${mergeRequestIid}\` is not a merge request number`);
    const configured = apiUrl || `${await dag.config().gitlabUrl()}/api/v4`;
    const project = projectId || (await dag.config().gitlabProjectId());
    let container = dag
      .container()
      .from(await dag.config().image("bun"))
      .withDirectory("/module", dag.currentModule().source().directory("src"));
    let base = configured;
    if (api !== undefined) {
      base = `http://api:${(await api.endpoint()).split(":").at(-1)}${new URL(configured).pathname}`;
      container = container.withServiceBinding("api", api);
    }
    if (caFile !== undefined) container = container.withFile(AUTHORITY, caFile).withEnvVariable("NODE_EXTRA_CA_CERTS", AUTHORITY);
    if (proxy !== undefined) {
      for (const name of ["HTTP_PROXY", "HTTPS_PROXY"]) container = container.withSecretVariable(name, proxy);
      container = container.withEnvVariable("NO_PROXY", [noProxy, "api"].filter(Boolean).join(","));
    }
    const task: CommentTask = { apiUrl: base, project, mergeRequest: mergeRequestIid, marker, body };
    const finished = await container
      .withNewFile(TASK, JSON.stringify(task))
      .withSecretVariable("GITLAB_TOKEN", token)
      .withEnvVariable("NONCE", nonce || crypto.randomUUID())
      .withExec(RUN, { expect: ReturnType.Any })
      .sync();
    if ((await finished.exitCode()) !== 0) throw new Error((await finished.stderr()) || "the comment was not written");
    return finished.stdout();
  }
}
