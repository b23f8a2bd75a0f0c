// Runs in the container: posts the comment that a JSON file describes, with the token of GITLAB_TOKEN. Bun itself
// respects NODE_EXTRA_CA_CERTS, HTTP_PROXY, HTTPS_PROXY and NO_PROXY. The engine may import this file with the others.
import { readFileSync } from "node:fs";

import { access, PLATFORM } from "./api.js";
import { postComment, type CommentTarget } from "./comment.js";

/** The comment and its target. */
export interface CommentTask extends CommentTarget {
  apiUrl: string;
  body: string;
}

if (import.meta.main) {
  try {
    const task = JSON.parse(readFileSync(process.argv.at(-1) ?? "", "utf8")) as CommentTask;
    const posted = await postComment(PLATFORM, access(task.apiUrl, process.env["GITLAB_TOKEN"] ?? ""), task, task.body);
    process.stdout.write(JSON.stringify(posted));
  } catch (error) {
    process.stderr.write(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
