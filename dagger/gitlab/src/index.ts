/**
 * Talks to GitLab
 *
 * With a project or group access token of the scope `api`: a job token may read comments but not write them.
 */
import { dag, func, object, type Secret } from "@dagger.io/dagger";

import { access, WORLD } from "./api.js";
import { post } from "./comment.js";

@object()
export class Gitlab {
  /**
   * Creates or edits the one comment of a marker in a merge request, and returns what was done as JSON
   *
   * The answer has `action` (`created`, `edited` or `unchanged`), `note` (its id) and `removed` (ids of duplicates).
   *
   * @param token A project or group access token with the scope `api`
   * @param mergeRequestIid The merge request's number in its project, as in `!42`: `CI_MERGE_REQUEST_IID`
   * @param body What the comment says, in Markdown. Lines that start with a slash are not carried out
   * @param projectId The project's number or full path. Without it, the shared configuration's
   * @param apiUrl The address of the API: `CI_API_V4_URL`. Without it, the shared configuration's instance
   * @param marker What tells this comment from others by the same user. It is not shown
   * @param nonce New for every attempt, so that no earlier answer is taken for this one's
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
  ): Promise<string> {
    if (!/^[1-9][0-9]*$/.test(mergeRequestIid)) throw new Error(`\`${mergeRequestIid}\` is no merge request number`);
    const base = apiUrl || `${await dag.config().gitlabUrl()}/api/v4`;
    const project = projectId || (await dag.config().gitlabProjectId());
    const caller = access(base, await token.plaintext());
    void nonce; // Read by the engine alone: it is part of what makes two calls the same.
    const posted = await post(WORLD, caller, { project, mergeRequest: mergeRequestIid, marker }, body);
    return JSON.stringify(posted);
  }
}
