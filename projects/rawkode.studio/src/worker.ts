import { answer } from "./api.ts";

interface Env {
  /** The files in dist/. */
  ASSETS: { fetch(request: Request): Promise<Response> };
  ENVIRONMENT: string;
  VERSION: { id: string; tag: string; timestamp: string };
}

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    const { pathname } = new URL(request.url);
    if (!pathname.startsWith("/api/")) return env.ASSETS.fetch(request);
    return answer(request.method, pathname, {
      environment: env.ENVIRONMENT,
      version: env.VERSION.id,
      tag: env.VERSION.tag,
    });
  },
};
