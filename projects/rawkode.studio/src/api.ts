import { type Step, steps } from "./pipeline.ts";

/** The environment and the version of this Worker. */
export interface Self {
  environment: string;
  /** The id that Cloudflare gave to the version. */
  version: string;
  /** The content key: a short hash over everything that the version was built from. */
  tag: string;
}

export interface Health extends Self {
  status: "ok";
}

export interface Pipeline {
  steps: readonly Step[];
}

export interface Failure {
  error: string;
}

const routes: Readonly<Record<string, (self: Self) => Health | Pipeline>> = {
  "/api/health": (self) => ({ status: "ok", ...self }),
  "/api/pipeline": () => ({ steps }),
};

const METHODS = ["GET", "HEAD"];

/** Answers a request below /api/. */
export function answer(method: string, path: string, self: Self): Response {
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (!route) return json(method, 404, { error: `there is nothing at ${path}` });
  if (!METHODS.includes(method)) {
    return json(method, 405, { error: `${method} is not allowed here` }, { Allow: METHODS.join(", ") });
  }
  return json(method, 200, route(self));
}

function json(method: string, status: number, body: Health | Pipeline | Failure, headers: Record<string, string> = {}): Response {
  return new Response(method === "HEAD" ? null : `${JSON.stringify(body)}\n`, {
    status,
    headers: {
      "Content-Type": "application/json; charset=utf-8",
      // A cached response could name an old version.
      "Cache-Control": "no-store",
      "X-Content-Type-Options": "nosniff",
      ...headers,
    },
  });
}
