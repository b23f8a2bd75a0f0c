import { dag, func, object, type File } from "@dagger.io/dagger";

import { serialize, type DeploymentRecord } from "./record.js";

/** The result of a run of wrangler, even if it failed */
@object()
export class Deployment {
  /** The exit code of wrangler */
  @func()
  exitCode: number = 0;

  /** The reason why the run failed. Empty if it succeeded */
  @func()
  error: string = "";

  /** The version that was uploaded. Empty if there is none */
  @func()
  versionId: string = "";

  /** The URLs of the version */
  @func()
  urls: string[] = [];

  /** The value that the caller passed, or a random one */
  @func()
  nonce: string = "";

  private command: string = "";
  private json: string = "";

  /**
   * The whole result as JSON: this run's if `nonce` is the one that was passed
   */
  @func()
  record(): File {
    return dag.file(`${this.command}.json`, this.json);
  }

  /**
   * The same result, or an error if the run failed
   */
  @func()
  check(): Deployment {
    if (this.error !== "" || this.exitCode !== 0) throw new Error(this.error || `wrangler exited with ${this.exitCode}`);
    return this;
  }
}

/** Returns the object that Dagger gives to callers. */
export function deploymentOf(record: DeploymentRecord): Deployment {
  const { command, exitCode, error = "", versionId, urls, nonce } = record;
  const json = serialize(record);
  return Object.assign(new Deployment(), { command, exitCode, error, versionId: versionId ?? "", urls, nonce, json });
}
