import { fields } from "./site.js";

/** A script that prints Cloudflare's response about the deployments of a Worker, whose name is the last argument. */
export const READ_DEPLOYMENTS = `
const { CLOUDFLARE_API_BASE_URL: api = "https://api.cloudflare.com/client/v4", CLOUDFLARE_ACCOUNT_ID: account, CLOUDFLARE_API_TOKEN: token } = process.env;
const url = api + "/accounts/" + account + "/workers/scripts/" + encodeURIComponent(process.argv.at(-1)) + "/deployments";
const response = await fetch(url, { headers: { Authorization: "Bearer " + token }, redirect: "manual", signal: AbortSignal.timeout(30_000) });
process.stdout.write(JSON.stringify({ status: response.status, text: await response.text() }));`;

/** Cloudflare's error codes for a Worker that does not exist. */
const UNKNOWN_WORKER = [10_007, 10_090];

/**
 * Returns the reason why a Worker Preview must not be created. `undefined` if the Worker exists. Wrangler would silently
 * create a missing Worker that has only the preview.
 *
 * @param response Cloudflare's response about the Worker's deployments: `{"status", "text"}`.
 */
export function missingWorker(worker: string, response: string): string | undefined {
  const { status, text } = fields(parseJson(response));
  const { success, errors, result } = fields(parseJson(text));
  const all = fields(result)["deployments"];
  if (success === true && Array.isArray(all) && all.length > 0) return undefined;
  const codes = Array.isArray(errors) ? errors.map((error) => fields(error)["code"]) : [];
  if ((success === true && Array.isArray(all)) || codes.some((code) => UNKNOWN_WORKER.includes(code as number))) {
    return `the Worker \`${worker}\` has never been deployed, and a preview needs one: deploy it first`;
  }
  const detail = typeof status === "number" ? `it answered ${status}` : response.trim().split("\n").at(-1);
  return `Cloudflare does not say whether the Worker \`${worker}\` exists: ${detail || "no answer"}`;
}

function parseJson(text: unknown): unknown {
  try {
    return typeof text === "string" ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}
