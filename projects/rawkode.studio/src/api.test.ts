import { describe, expect, test } from "bun:test";
import { answer } from "./api.ts";
import { steps } from "./pipeline.ts";
import worker from "./worker.ts";

const self = { environment: "staging", version: "3f9c1e07-2d5b-4c8e-9a61-0b7f4e5d6c21", tag: "9f2b61c4d07e" };

describe("the API", () => {
  test("health names the environment and the version", async () => {
    const response = answer("GET", "/api/health", self);
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Type")).toStartWith("application/json");
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    expect(await response.json()).toEqual({ status: "ok", ...self });
  });

  test("pipeline lists the steps in order", async () => {
    const body = (await answer("GET", "/api/pipeline", self).json()) as { steps: { name: string }[] };
    expect(body.steps.map(({ name }) => name)).toEqual(steps.map(({ name }) => name));
  });

  test.each(["/api/", "/api/nope", "/api/health/", "/api/health/more", "/api/toString", "/api/__proto__"])("%s does not exist", async (path) => {
    const response = answer("GET", path, self);
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({ error: `there is nothing at ${path}` });
  });

  test.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])("%s is refused, and the answer says what is allowed", async (method) => {
    const response = answer(method, "/api/health", self);
    expect(response.status).toBe(405);
    expect(response.headers.get("Allow")).toBe("GET, HEAD");
    expect(await response.json()).toEqual({ error: `${method} is not allowed here` });
  });

  test("HEAD gets the headers alone", async () => {
    const response = answer("HEAD", "/api/health", self);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
  });
});

describe("the Worker", () => {
  const asked: string[] = [];
  const env = {
    ASSETS: {
      fetch: async (request: Request) => {
        asked.push(new URL(request.url).pathname);
        return new Response("a file");
      },
    },
    ENVIRONMENT: "production",
    VERSION: { id: self.version, tag: self.tag, timestamp: "2026-11-24T00:00:00Z" },
  };

  test("answers below /api/ from its variables and its version", async () => {
    const response = await worker.fetch(new Request("https://studio.example.com/api/health?now"), env);
    expect(await response.json()).toEqual({ status: "ok", ...self, environment: "production" });
    expect(asked).toEqual([]);
  });

  test.each([
    ["https://studio.example.com", "production", "production"],
    ["https://localhost.example.com", "production", "production"],
    ["http://rawkode-studio.localhost:8787", "production", "local"],
    ["http://mr-7-rawkode-studio.localhost:8787", "production", "local"],
    ["http://rawkode-studio-staging.localhost:8787", "staging", "staging (sandbox)"],
  ])("at %s the Worker of %s runs in %s", async (origin, configured, shown) => {
    const response = await worker.fetch(new Request(`${origin}/api/health`), { ...env, ENVIRONMENT: configured });
    expect(((await response.json()) as { environment: string }).environment).toBe(shown);
  });

  test("leaves every other path to the files", async () => {
    const response = await worker.fetch(new Request("https://studio.example.com/apiary"), env);
    expect(await response.text()).toBe("a file");
    expect(asked).toEqual(["/apiary"]);
  });
});
