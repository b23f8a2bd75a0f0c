import type { Command, Strategy } from "./arguments.js";

/** The result of a run of wrangler. */
export interface Verdict {
  /** The Worker's name, as wrangler resolved it. */
  workerName: string | null;
  /** The new version. `null` if there is none. A failed run can have created one too. */
  versionId: string | null;
  /** The deployment, if wrangler names it. It always does for Worker Previews. */
  deploymentId?: string;
  /** The URLs of the site. */
  urls: string[];
  /** The URL of this version. */
  previewUrl?: string;
  /** The URL of the alias. */
  aliasUrl?: string;
  /** Wrangler's "targets", unparsed: URLs, custom domains, schedules. */
  targets: string[];
  /** The version of wrangler. */
  wrangler: string | null;
  /** The reason of a failure, in one sentence. Absent after a success. */
  error?: string;
}

type Entry = Record<string, unknown>;

/**
 * Judges a run by its exit code and its output file, which has one JSON object per line.
 *
 * Success needs exit code 0 **and** an entry of the expected type with the id of a version or of a preview's deployment.
 * Exit code 0 alone proves nothing, because wrangler exits with 0 after doing nothing in some non-interactive cases. A
 * failed run may have changed the remote state, because wrangler makes a version live before it applies routes and
 * domains. Observed with wrangler 4.164.
 *
 * @param output The text of the output file. Lines that are not a JSON object are skipped.
 */
export function verdict(
  command: Command,
  exitCode: number,
  output: string,
  strategy: Strategy = "alias",
): Verdict {
  const entries = output.split("\n").flatMap(entryOf);
  const last = (type: string) => entries.findLast((entry) => entry["type"] === type);
  const type = command === "deploy" ? "deploy" : strategy === "preview" ? "preview" : "version-upload";
  const entry = last(type);
  const result: Verdict = {
    workerName: text(entry?.["worker_name"]) ?? null,
    versionId: text(entry?.["version_id"]) ?? null,
    urls: [],
    targets: texts(entry?.["targets"]),
    wrangler: text(last("wrangler-session")?.["wrangler_version"]) ?? null,
  };
  const deployment = text(entry?.["deployment_id"]);
  const preview = text(entry?.["preview_url"]) ?? texts(entry?.["deployment_urls"])[0];
  const alias = text(entry?.["preview_alias_url"]) ?? texts(entry?.["preview_urls"])[0];
  if (deployment !== undefined) result.deploymentId = deployment;
  if (preview !== undefined) result.previewUrl = preview;
  if (alias !== undefined) result.aliasUrl = alias;
  result.urls = [...[alias, preview].filter((url) => url !== undefined), ...urls(result.targets)];
  const id = type === "preview" ? (deployment ?? null) : result.versionId;
  const error = failure(command, id, exitCode, result, text(last("command-failed")?.["message"]));
  if (error !== undefined) result.error = error;
  return result;
}

function failure(
  command: Command,
  id: string | null,
  exitCode: number,
  result: Verdict,
  message: string | undefined,
): string | undefined {
  if (exitCode !== 0) {
    const summary = `wrangler exited with ${exitCode}`;
    return message === undefined ? summary : `${summary}: ${message}`;
  }
  if (id === null) return "wrangler exited with 0 but its output file names no version";
  if (command === "preview" && result.urls.length === 0) {
    return "uploaded, but Cloudflare gave no preview URL: `preview_urls` must be true in the config that was deployed last";
  }
  return undefined;
}

/**
 * Returns the URLs among wrangler's targets. A custom domain is printed as `www.example.com (custom domain)`. Routes and
 * schedules are printed in formats that are not URLs.
 */
export function urls(targets: readonly string[]): string[] {
  return targets.flatMap((target) => {
    if (target.startsWith("https://") && !target.includes(" ")) return [target];
    const [domain, rest] = target.split(" (custom domain)", 2);
    return rest === undefined || rest.includes("production: disabled") ? [] : [`https://${domain}/`];
  });
}

function entryOf(line: string): Entry[] {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? [value as Entry] : [];
  } catch {
    return [];
  }
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
