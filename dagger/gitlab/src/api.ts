/** The environment of the protocol. Tests replace it. */
export interface Platform {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Waits for a number of milliseconds. */
  sleep: (milliseconds: number) => Promise<void>;
  /** Milliseconds since 1970. */
  now: () => number;
}

/** An API and its credentials. */
export interface GitlabAccess {
  /** The base URL with `/api/v4` and the relative root of the instance. */
  apiUrl: string;
  token: string;
}

/** The response of the server. */
export interface GitlabResponse {
  status: number;
  headers: Headers;
  /** The parsed body, or its text if it is not JSON. */
  body: unknown;
}

/** The maximum number of attempts per request. */
export const MAX_ATTEMPTS = 5;

/** The timeout of one request in milliseconds. */
const DEADLINE = 30_000;

/** The delay if the response has no header. The limit on new notes lasts one minute and sends none. */
const MINUTE = 60_000;

/** The maximum delay before a retry, in milliseconds. */
const LONGEST = 5 * MINUTE;

/** The network and the clock of this machine. */
export const PLATFORM: Platform = {
  fetch: (url, init) => fetch(url, init),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  now: () => Date.now(),
};

/**
 * Returns the URL without trailing slashes and the token without surrounding spaces.
 *
 * @throws If one of them is invalid. The message never contains the token.
 */
export function access(apiUrl: string, token: string): GitlabAccess {
  const trimmed = token.trim();
  if (!/^[\x21-\x7e]+$/.test(trimmed))
    throw new Error("the GitLab token is empty or has invalid characters");
  if (!/^https?:\/\/[^\s?#@]+$/.test(apiUrl)) throw new Error(`\`${apiUrl}\` is not a URL of a GitLab API`);
  return { apiUrl: apiUrl.replace(/\/+$/, ""), token: trimmed };
}

/**
 * Sends a request and retries it if that is safe. A 429 is always retried, because nothing was done. After a 5xx or a
 * broken connection, a POST is not retried, because it may have had an effect. Its response is returned, with status 0
 * for a broken connection.
 *
 * @throws If all attempts fail, if the server requests a delay of more than five minutes, and for a redirect, because it
 * would send the token to another server.
 */
export async function call(
  world: Platform,
  access: GitlabAccess,
  method: string,
  path: string,
  body?: unknown,
): Promise<GitlabResponse> {
  for (let attempt = 1; ; attempt += 1) {
    const response = await once(world, access, method, path, body);
    const busy = response.status === 429;
    const broken = response.status === 0 || response.status >= 500;
    if (!busy && (!broken || method === "POST")) return response;
    if (attempt === MAX_ATTEMPTS) throw new Error(`${method} ${path}: ${describeError(access, response)}, ${MAX_ATTEMPTS} times`);
    const wait = busy ? retryDelay(response.headers, world.now()) : 1000 * 2 ** (attempt - 1);
    if (wait > LONGEST) throw new Error(`GitLab asks to wait for ${Math.ceil(wait / 1000)} seconds`);
    await world.sleep(wait);
  }
}

async function once(world: Platform, access: GitlabAccess, method: string, path: string, body: unknown): Promise<GitlabResponse> {
  const headers: Record<string, string> = { "PRIVATE-TOKEN": access.token, Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const init: RequestInit = { method, headers, redirect: "manual", signal: AbortSignal.timeout(DEADLINE) };
  if (body !== undefined) init.body = JSON.stringify(body);
  let response: Response;
  let text: string;
  try {
    response = await world.fetch(access.apiUrl + path, init);
    text = await response.text();
  } catch (error) {
    return { status: 0, headers: new Headers(), body: error instanceof Error ? reasons(error) : String(error) };
  }
  if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) {
    const target = response.headers.get("location") ?? "elsewhere";
    throw new Error(`${method} ${path}: GitLab redirects to ${hidden(access, target)}; the token is not sent there`);
  }
  return { status: response.status, headers: response.headers, body: parsed(text) };
}

/**
 * Returns the delay after 429 in milliseconds. The request throttle sends `Retry-After`, in seconds or as a date,
 * and `RateLimit-Reset` in seconds since 1970. The limit on new notes sends neither
 * (https://docs.gitlab.com/administration/settings/rate_limits/).
 */
export function retryDelay(headers: Headers, now: number): number {
  const after = headers.get("retry-after")?.trim();
  const reset = headers.get("ratelimit-reset")?.trim();
  let wait = MINUTE;
  if (after && /^\d+$/.test(after)) wait = Number(after) * 1000;
  else if (after && !Number.isNaN(Date.parse(after))) wait = Date.parse(after) - now;
  else if (reset && /^\d+$/.test(reset)) wait = Number(reset) * 1000 - now;
  return Math.max(wait, 1000);
}

/** Returns the error of a response in one line, without the token. */
export function describeError(access: GitlabAccess, response: GitlabResponse): string {
  const body = response.body as { message?: unknown; error?: unknown; error_description?: unknown } | string | null;
  const detail =
    typeof body === "object" && body !== null ? [body.message ?? body.error, body.error_description] : [body];
  const text = detail
    .filter((part) => part !== undefined && part !== null && part !== "")
    .map((part) => (typeof part === "string" ? part : JSON.stringify(part)))
    .join(": ");
  const line = hidden(access, text.replace(/\s+/g, " ")).slice(0, 300);
  if (response.status === 0) return `no answer from ${access.apiUrl}: ${line}`;
  const hint =
    response.status === 401 || response.status === 403
      ? "; it takes a project or group access token with the scope `api`, a job token cannot write comments"
      : "";
  return `GitLab answered ${response.status}${line === "" ? "" : ` (${line})`}${hint}`;
}

/** Returns the number of the next page. `Link` may name another host behind a proxy, so only its page number is used. */
export function nextPage(headers: Headers): number | undefined {
  const header = headers.get("x-next-page");
  const link = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(headers.get("link") ?? "")?.[1];
  const page = header ?? (link === undefined ? null : new URL(link, "http://host").searchParams.get("page"));
  return page !== null && /^\d+$/.test(page.trim()) ? Number(page) : undefined;
}

function hidden(access: GitlabAccess, text: string): string {
  return text.replaceAll(access.token, "***");
}

function reasons(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
