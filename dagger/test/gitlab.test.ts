import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { access, nextPage, retryDelay } from "../gitlab/src/api.js";
import { postComment } from "../gitlab/src/comment.js";
import { Gitlab } from "../gitlab/src/index.js";
import type { CommentTask } from "../gitlab/src/main.js";
import { markerLine, withoutQuickActions } from "../gitlab/src/markdown.js";
import { MARKER, note, PLACE, serve, TOKEN, type Fault, type Note, type Server } from "./gitlab-server.js";
import { ROOT } from "./modules.js";
import { inSession } from "./session.js";
import { dag, type File, type Secret, type Service } from "./stubs/dagger.js";

let server: Server;
afterEach(() => server?.stop());

function start(notes: Note[], fault?: Fault, perPage?: number): Server {
  server = serve(notes, fault, perPage);
  return server;
}

const posting = (text = "hello", place = PLACE) => postComment(server.world, access(server.apiUrl, TOKEN), place, text);
const methods = () => server.seen.map(({ method }) => method).filter((method) => method !== "GET");

describe("the comment", () => {
  test("is created", async () => {
    start([note(1, "something else"), note(2, MARKER, 9)]);
    expect(await posting()).toEqual({ action: "created", note: 101, removed: [] });
    expect(server.notes.at(-1)?.body).toBe(`${MARKER}\nhello`);
  });

  test("is edited in place, wherever it is", async () => {
    const others = Array.from({ length: 9 }, (_, id) => note(id + 1, id % 2 === 0 ? "unreadable" : "by people", 3));
    start([...others, note(20, `${MARKER}\nold`)]);
    expect(await posting()).toEqual({ action: "edited", note: 20, removed: [] });
    expect(methods()).toEqual(["PUT"]);
    expect(server.notes).toHaveLength(10);
    const pages = server.seen.filter(({ path }) => path.includes("page="));
    expect(pages).toHaveLength(5);
    expect(pages[0]?.path).toContain("activity_filter=only_comments&order_by=created_at&sort=asc&per_page=100&page=1");
  });

  test("is left alone when it says the same", async () => {
    start([note(20, `${MARKER}\nhello`)]);
    expect(await posting("hello\n\n")).toEqual({ action: "unchanged", note: 20, removed: [] });
    expect(methods()).toEqual([]);
  });

  test("is ours by marker and author, never by one of them", async () => {
    start([
      note(1, `${MARKER}\nforged`, 9),
      note(2, `${MARKER}\nsystem`, undefined, true),
      note(3, `quoted: ${MARKER}`),
      note(4, "<!-- preview shop-two -->\nanother site"),
      note(5, `text\n${MARKER}`),
    ]);
    expect((await posting()).action).toBe("created");
    expect(server.notes.slice(0, 5).map(({ body }) => body)).not.toContain(`${MARKER}\nhello`);
    expect(methods()).toEqual(["POST"]);
  });

  test("is one: the oldest stays, duplicates of ours go", async () => {
    start([note(30, `${MARKER}\nb`), note(10, `${MARKER}\na`), note(20, MARKER, 9), note(40, `${MARKER}\nc`)]);
    expect(await posting()).toEqual({ action: "edited", note: 10, removed: [30, 40] });
    expect(server.notes.map(({ id }) => id)).toEqual([10, 20]);
  });

  test("of two jobs that create at once ends as one", async () => {
    const notes: Note[] = [];
    start(notes, ({ method }) => {
      if (method === "POST" && notes.length === 0) notes.push(note(50, `${MARKER}\nfrom the other job`));
      return undefined;
    });
    expect(await posting()).toEqual({ action: "edited", note: 50, removed: [101] });
    expect(notes).toEqual([note(50, `${MARKER}\nhello`)]);
  });

  test("that was deleted in between is created again, once", async () => {
    const notes = [note(20, `${MARKER}\nold`)];
    start(notes, ({ method }) => {
      if (method === "PUT") notes.length = 0;
      return undefined;
    });
    expect(await posting()).toMatchObject({ action: "created" });
    expect(methods()).toEqual(["PUT", "POST"]);
  });

  test("cannot carry out commands", async () => {
    start([]);
    await posting("Title\r\n/merge\n\r/close\n  /approve\r/label ~x\n- /not a command");
    expect(server.notes[0]?.body).toBe(
      `${MARKER}\nTitle\n\\/merge\n\n\\/close\n  \\/approve\n\\/label ~x\n- /not a command`,
    );
    expect(withoutQuickActions("`/a`\n> /b\n\u00a0/c")).toBe("`/a`\n> /b\n\u00a0\\/c");
  });

  test("that cannot be is refused before anything is asked", async () => {
    start([]);
    for (const text of ["", " \n\t"]) await expect(posting(text)).rejects.toThrow("empty");
    await expect(posting("x".repeat(1_000_000))).rejects.toThrow("GitLab takes 1000000");
    for (const marker of ["", "a --> b", "a\nb", " a", "x".repeat(101)]) {
      await expect(posting("x", { ...PLACE, marker })).rejects.toThrow("is not a marker");
    }
    expect(() => markerLine("preview @scope/site")).not.toThrow();
    expect(server.seen).toEqual([]);
  });
});

describe("the delay of a retry", () => {
  const now = Date.UTC(2026, 0, 1);
  test.each([
    [{ "Retry-After": "7" }, 7_000],
    [{ "Retry-After": "0" }, 1_000],
    [{ "Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT" }, 30_000],
    [{ "RateLimit-Reset": String(now / 1000 + 20) }, 20_000],
    [{}, 60_000],
    [{ "Retry-After": "soon" }, 60_000],
  ])("%j", (headers, wait) => {
    expect(retryDelay(new Headers(headers as Record<string, string>), now)).toBe(wait);
  });

  const throttled = () => new Response("Retry later", { status: 429, headers: { "Retry-After": "3" } });
  const limited = () =>
    Response.json({ message: { error: "This endpoint has been requested too many times." } }, { status: 429 });

  test("with both kinds of 429, on every kind of request", async () => {
    start([note(20, `${MARKER}\nold`), note(30, MARKER)], (_, count) =>
      count === 1 ? throttled() : count === 2 ? limited() : undefined,
    );
    expect(await posting()).toMatchObject({ action: "edited", removed: [30] });
    expect(server.waits).toEqual([3000, 60_000, 3000, 60_000, 3000, 60_000, 3000, 60_000]);
  });

  test("ends", async () => {
    start([], () => limited());
    await expect(posting()).rejects.toThrow(/GitLab answered 429 \(.*too many times.*\), 5 times/);
    await server.stop();
    start([], () => new Response("", { status: 429, headers: { "Retry-After": "3600" } }));
    await expect(posting()).rejects.toThrow("wait for 3600 seconds");
  });
});

describe("a server in trouble", () => {
  const bad = () => new Response("<html>502</html>", { status: 502 });

  test("is asked again", async () => {
    start([note(20, `${MARKER}\nold`), note(30, MARKER)], (_, count) => (count === 1 ? bad() : undefined));
    expect(await posting()).toMatchObject({ action: "edited", note: 20, removed: [30] });
    expect(server.waits).toEqual([1000, 1000, 1000, 1000]);
  });

  test("that wrote the comment and then failed is not asked to write it twice", async () => {
    start([], ({ method }, count) => (method === "POST" && count === 1 ? { after: bad() } : undefined));
    expect(await posting()).toMatchObject({ action: "created" });
    expect(methods()).toEqual(["POST"]);
    expect(server.notes).toHaveLength(1);
  });

  test("that did not write it is asked again", async () => {
    start([], ({ method }, count) => (method === "POST" && count === 1 ? bad() : undefined));
    expect(await posting()).toMatchObject({ action: "created" });
    expect(methods()).toEqual(["POST", "POST"]);
    expect(server.notes).toHaveLength(1);
  });

  test("that breaks connections is asked again, then named", async () => {
    start([]);
    let broken = 0;
    const reset = {
      ...server.world,
      fetch: () => (broken++, Promise.reject(new Error("socket closed", { cause: new Error("ECONNRESET") }))),
    };
    const api = access(server.apiUrl, TOKEN);
    const failing = postComment(reset, api, PLACE, "hello");
    await expect(failing).rejects.toThrow(/GET \/user: no answer from http.*: socket closed: ECONNRESET, 5 times/);
    expect(broken).toBe(5);
  });
});

describe("a refusal", () => {
  test.each([
    [401, { message: "401 Unauthorized" }, "scope `api`"],
    [403, { error: "insufficient_scope", error_description: "needs more" }, "insufficient_scope: needs more"],
    [400, { message: { note: ["is too long"] } }, '{"note":["is too long"]}'],
    [404, { message: "404 Not found" }, "the token may not see it"],
    [202, { commands_changes: {} }, "GitLab answered 202"],
  ])("%d is reported, not retried", async (status, body, reason) => {
    start([], ({ method }) => (method === "POST" ? Response.json(body, { status }) : undefined));
    const failing = posting();
    await expect(failing).rejects.toThrow(reason);
    await expect(failing).rejects.toThrow("cannot write the comments of !42 in project 12");
    expect(methods()).toEqual(["POST"]);
  });

  test("never shows the token", async () => {
    start([], () => Response.json({ message: `bad ${TOKEN}` }, { status: 400 }));
    const error = await posting().catch(String);
    expect(error).toContain("bad ***");
    for (const bad of ["", " ", "a\nb", "töken"]) {
      const message = (() => {
        try {
          return access(server.apiUrl, bad) && "";
        } catch (thrown) {
          return String(thrown);
        }
      })();
      expect(message).toContain("the GitLab token is empty or has invalid characters");
      if (bad.trim() !== "") expect(message).not.toContain(bad);
    }
    expect(access(`${server.apiUrl}/`, ` ${TOKEN}\n`)).toEqual({ apiUrl: server.apiUrl, token: TOKEN });
    for (const url of ["gitlab.example.com", "ftp://x", "https://user:pw@x/api/v4"])
      expect(() => access(url, TOKEN)).toThrow("not a URL");
  });

  test("to follow a redirect with the token", async () => {
    let asked = 0;
    const elsewhere = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => (asked++, Response.json({ id: 7 })) });
    start([], () => Response.redirect(`http://127.0.0.1:${elsewhere.port}/api/v4/user`, 301));
    const failing = posting();
    await expect(failing).rejects.toThrow("the token is not sent there");
    await elsewhere.stop(true);
    expect(asked).toBe(0);
  });
});

test("the next page is what the header says, on our own host", () => {
  const next = (headers: Record<string, string>) => nextPage(new Headers(headers));
  expect(next({ "X-Next-Page": "3" })).toBe(3);
  expect(next({ "X-Next-Page": "", Link: '<http://other/x?page=9>; rel="next"' })).toBeUndefined();
  expect(next({ Link: '<http://other/x?page=1>; rel="first", <http://other/x?a=b&page=4>; rel="next"' })).toBe(4);
  expect(next({})).toBeUndefined();
});

describe("the function", () => {
  const known: Record<string, unknown> = {
    gitlabUrl: "https://gitlab.example.com/gitlab",
    gitlabProjectId: "12",
    image: "registry.example.com/bun:1.2.3",
    endpoint: "h4sh:8787",
    exitCode: 0,
    stdout: '{"action":"created","note":101,"removed":[]}',
    stderr: "",
  };
  type More = [api?: Service, caFile?: File, proxy?: Secret, noProxy?: string];

  /** The calls that built the container of the run, by name. */
  async function ran(change: Record<string, unknown>, ...more: More) {
    const token = dag.secret("env://CICD_COMMENT_TOKEN");
    const none = undefined;
    const { result, session } = await inSession(
      (last) => ({ ...known, ...change })[last],
      () => new Gitlab().postMergeRequestComment(token, "42", "hello", none, none, "preview shop", none, ...more),
    );
    const chain = session.asked.find((asked) => asked.some(({ name }) => name === "withExec")) ?? [];
    const calls = (name: string) => chain.filter((call) => call.name === name).map(({ args }) => args);
    const task = calls("withNewFile").map(({ contents }) => JSON.parse(String(contents)) as CommentTask);
    return { result, calls, task: task[0] };
  }

  test("takes project and instance from the shared configuration", async () => {
    const { result, calls, task } = await ran({});
    expect(JSON.parse(result)).toEqual({ action: "created", note: 101, removed: [] });
    const apiUrl = "https://gitlab.example.com/gitlab/api/v4";
    expect(task).toEqual({ apiUrl, project: "12", mergeRequest: "42", marker: "preview shop", body: "hello" });
    expect(calls("withSecretVariable").map(({ name }) => name as string)).toEqual(["GITLAB_TOKEN"]);
    expect(calls("withEnvVariable").map(({ name }) => name as string)).toEqual(["NONCE"]);
  });

  test("reaches a service, through no proxy, and trusts an authority", async () => {
    const service = dag.container().asService();
    const { calls, task } = await ran({}, service, dag.file("ca.pem", "PEM"), dag.secret("env://P"), "gitlab.internal");
    expect(task?.apiUrl).toBe("http://api:8787/gitlab/api/v4");
    expect(calls("withServiceBinding").map(({ alias }) => alias as string)).toEqual(["api"]);
    expect(calls("withEnvVariable").slice(0, 2)).toEqual([
      { name: "NODE_EXTRA_CA_CERTS", value: "/authority.pem" },
      { name: "NO_PROXY", value: "gitlab.internal,api" },
    ]);
    const secrets = calls("withSecretVariable").map(({ name }) => name as string);
    expect(secrets).toEqual(["HTTP_PROXY", "HTTPS_PROXY", "GITLAB_TOKEN"]);
  });

  test("fails with what the program says", async () => {
    await expect(ran({ exitCode: 1, stdout: "", stderr: "GitLab answered 401" })).rejects.toThrow(/^GitLab answered 401$/);
  });
});

describe("the program", () => {
  /** Runs the program as the container does. */
  async function run(apiUrl: string, env: Record<string, string> = {}) {
    const dir = mkdtempSync(join(tmpdir(), "comment-"));
    const task: CommentTask = { ...PLACE, apiUrl, body: "hello" };
    writeFileSync(join(dir, "comment.json"), JSON.stringify(task));
    const main = join(ROOT, "dagger/gitlab/src/main.ts");
    const words = ["--no-env-file", "--config=/dev/null", main, join(dir, "comment.json")];
    const child = Bun.spawn([process.execPath, ...words], {
      env: { GITLAB_TOKEN: `${TOKEN}\n`, ...env },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err] = [await new Response(child.stdout).text(), await new Response(child.stderr).text()];
    rmSync(dir, { recursive: true });
    return { code: await child.exited, out, err };
  }

  test("writes the comment, and says why it could not", async () => {
    start([]);
    const { code, out } = await run(server.apiUrl);
    expect({ code, posted: JSON.parse(out) }).toEqual({ code: 0, posted: { action: "created", note: 101, removed: [] } });
    expect(server.notes[0]?.body).toBe(`${MARKER}\nhello`);
    const other = await run(server.apiUrl, { GITLAB_TOKEN: "glpat-other" });
    expect(other).toMatchObject({ code: 1, out: "" });
    expect(other.err).toContain("GitLab answered 401");
    expect(other.err).not.toContain("glpat-other");
  });

  test("goes through a proxy, but not to the hosts that need none", async () => {
    start([]);
    const asked: string[] = [];
    const proxy = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        asked.push(new URL(request.url).host);
        return fetch(server.apiUrl + new URL(request.url).pathname.slice("/gitlab/api/v4".length), {
          method: request.method,
          headers: request.headers,
          ...(request.method !== "GET" && { body: request.body }),
        });
      },
    });
    const env = { HTTP_PROXY: `http://127.0.0.1:${proxy.port}` };
    expect((await run("http://gitlab.invalid/gitlab/api/v4", env)).code).toBe(0);
    expect(new Set(asked)).toEqual(new Set(["gitlab.invalid"]));
    asked.length = 0;
    expect((await run(server.apiUrl, { ...env, NO_PROXY: "127.0.0.1,api" })).code).toBe(0);
    expect(asked).toEqual([]);
    await proxy.stop(true);
  });
});

test("the function refuses an invalid merge request number", async () => {
  for (const bad of ["", "!42", "0", "42/../43"]) {
    await expect(new Gitlab().postMergeRequestComment(dag.secret("env://T"), bad, "hello")).rejects.toThrow(
      "not a merge request number",
    );
  }
});
