import type { Command, Strategy } from "./arguments.js";
import type { Verdict } from "./verdict.js";

/** A step before the upload that ran. */
export interface StepResult {
  command: string;
  isOk: boolean;
}

/**
 * The result of a run, as data. A run succeeded if `exitCode` is 0 and there is no `error`. It is this run's record if
 * `nonce` is the one that was passed.
 */
export interface DeploymentRecord extends Verdict {
  /** The version of this shape. */
  schema: 1;
  command: Command;
  project?: string;
  /** The requested environment. Empty for the config's top level. */
  environment: string;
  nonce: string;
  exitCode: number;
  tag: string;
  message: string;
  alias?: string;
  /** The kind of the preview, unless it is a version under an alias. */
  strategy?: Strategy;
  /** The warnings of a successful upload. */
  warnings?: string[];
  /** The steps before the upload that ran. */
  steps?: StepResult[];
  /** The last lines of wrangler's output. */
  log: string;
  /** The result for the merge request's comment: `created`, `edited`, `unchanged`, or the failure. */
  comment?: string;
}

/** Returns the record as JSON with a final newline. */
export function serialize(record: DeploymentRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}
