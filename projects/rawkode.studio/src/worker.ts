import { answer } from "./api.ts";

interface Env {
  /** The files in dist/. */
  ASSETS: { fetch(request: Request): Promise<Response> };
  ENVIRONMENT: string;
  VERSION: { id: string; tag: string; timestamp: string };
}

/** The sandbox runs the same version as Cloudflare, so only the host name tells them apart. */
function environment(hostname: string, configured: string): string {
  if (!/(^|\.)localhost$/.test(hostname)) return configured;
  return configured === "production" ? "local" : `${configured} (sandbox)`;
}

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    const { hostname, pathname } = new URL(request.url);
    if (!pathname.startsWith("/api/")) return env.ASSETS.fetch(request);
    return answer(request.method, pathname, {
      environment: environment(hostname, env.ENVIRONMENT),
      version: env.VERSION.id,
      tag: env.VERSION.tag,
    });
  },
};
