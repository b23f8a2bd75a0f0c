import type { Command, Strategy } from "./arguments.js";
import type { Verdict } from "./verdict.js";

/**
 * The result of a run, as data. A run succeeded if `exitCode` is 0 and there is no `error`. It is this run's record if
 * `nonce` is the one that was passed.
 */
export interface DeploymentRecord extends Verdict {
  /** The version of this shape. */
  schema: 1;
  command: Command;
  project?: string;
  /** The environment that was asked for; empty for the config's top level. */
  environment: string;
  nonce: string;
  exitCode: number;
  tag: string;
  message: string;
  alias?: string;
  /** The way the preview was made, unless it is a version under an alias. */
  strategy?: Strategy;
  /** What a person should read although the upload succeeded. */
  warnings?: string[];
  /** The last lines of wrangler's output. */
  log: string;
  /** The result for the merge request's comment: `created`, `edited`, `unchanged`, or the failure. */
  comment?: string;
}

/** The record's text, with a newline at its end. */
export function serialize(record: DeploymentRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}
