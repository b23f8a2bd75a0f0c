import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parseBeforeDeploy, bundleArguments, WRANGLER_ENV, parseFlags, BUN_OPTIONS, stepArguments, wranglerArguments } from "../cloudflare/src/arguments.js";
import { READ_DEPLOYMENTS, missingWorker } from "../cloudflare/src/deployments.js";
import { tail } from "../cloudflare/src/log.js";
import { distPath, hasAssets, refusal, site, type Facts } from "../cloudflare/src/site.js";
import { READ_CONFIG } from "../cloudflare/src/wrangler.js";
import { ROOT } from "./modules.js";

describe("steps before the upload", () => {
  const step = (...words: string[]) => JSON.stringify([{ command: "c", arguments: words, reads: [] }]);

  test("are commands of wrangler that run no code of the project", () => {
    const [only] = parseBeforeDeploy(step("d1", "migrations", "apply", "DB", "--remote"));
    expect(only && stepArguments("wrangler.jsonc", "staging", only)).toEqual([
      "--env-file=/dev/null",
      "--config=wrangler.jsonc",
      "--env=staging",
      "d1",
      "migrations",
      "apply",
      "DB",
      "--remote",
    ]);
    expect(parseBeforeDeploy(undefined)).toEqual([]);
  });

  test.each([
    ["deploy"],
    ["d1", "migrations", "create", "DB"],
    ["d1", "execute", "DB", "--local"],
    ["d1", "execute", "DB", "--config=other.toml"],
    ["d1", "execute", "DB", "-c", "other.toml"],
    ["--cwd=/", "d1", "execute", "DB"],
    ["r2", "object", "put", "b/k", "--pipe"],
  ])("refuse %s %s %s %s", (...words) => {
    const texts = words.flatMap((word) => (typeof word === "string" ? [word] : []));
    expect(() => parseBeforeDeploy(step(...texts))).toThrow("must not run with the token");
  });

  test("are a list", () => {
    expect(() => parseBeforeDeploy('["wrangler d1 execute DB"]')).toThrow("not a list of steps");
  });
});

test("flags go to the step that they belong to", () => {
  const words = ["--minify", "--keep-vars", "--upload-source-maps", "--define=A:1"];
  expect(parseFlags(JSON.stringify(words))).toEqual({
    bundle: ["--minify", "--upload-source-maps", "--define=A:1"],
    upload: ["--keep-vars", "--upload-source-maps"],
  });
  for (const word of ["--env=production", "--minify=1", "--define", "dist", "toString"]) {
    expect(() => parseFlags(JSON.stringify([word]))).toThrow("is not a flag of a project");
  }
});

const FULL = {
  environment: "staging",
  tag: "abc123",
  message: "-m 'x' $HOME",
  alias: "mr-42",
};

describe("arguments", () => {
  test("deploy", () => {
    expect(wranglerArguments({ command: "deploy", ...FULL })).toEqual([
      "deploy",
      "--autoconfig=false",
      "--strict",
      "--no-x-provision",
      "--env-file=/dev/null",
      "--env=staging",
      "--tag=abc123",
      "--message=-m 'x' $HOME",
    ]);
  });

  test("preview", () => {
    expect(wranglerArguments({ command: "preview", ...FULL })).toEqual([
      "versions",
      "upload",
      "--strict",
      "--no-x-provision",
      "--env-file=/dev/null",
      "--preview-alias=mr-42",
      "--env=staging",
      "--tag=abc123",
      "--message=-m 'x' $HOME",
    ]);
  });

  test("a preview of the other strategy", () => {
    expect(wranglerArguments({ command: "preview", strategy: "preview", ...FULL })).toEqual([
      "preview",
      "--name=mr-42",
      "--env-file=/dev/null",
      "--env=staging",
      "--tag=abc123",
      "--message=-m 'x' $HOME",
    ]);
  });

  test("without anything, and the top level of a config with blocks", () => {
    expect(wranglerArguments({ command: "deploy" })).toEqual([
      "deploy",
      "--autoconfig=false",
      "--strict",
      "--no-x-provision",
      "--env-file=/dev/null",
    ]);
    expect(wranglerArguments({ command: "deploy", environment: "" })).toContain("--env=");
    expect(wranglerArguments({ command: "preview" })).toEqual([
      "versions",
      "upload",
      "--strict",
      "--no-x-provision",
      "--env-file=/dev/null",
    ]);
  });

  const toolchain = process.env["XTASK_TOOLCHAIN"] ?? join(ROOT, "dagger/cloudflare/toolchain");
  const launcher = join(toolchain, "node_modules/wrangler/bin/wrangler.js");
  const places = { outdir: "out", outfile: "form", assets: "empty" };
  // `cargo xtask test` installs it first. A folder without a config ends the run after its arguments were read.
  test.skipIf(!existsSync(launcher)).each([
    ["deploy", wranglerArguments({ command: "deploy", ...FULL })],
    ["preview", wranglerArguments({ command: "preview", ...FULL })],
    ["the first step", bundleArguments({ config: "absent.jsonc", environment: "staging", ...places })],
  ] as const)(
    "the pinned wrangler takes those of %s",
    async (_, words) => {
      const dir = mkdtempSync(join(tmpdir(), "wrangler-"));
      const env = { PATH: process.env["PATH"] ?? "", HOME: dir, ...WRANGLER_ENV };
      const run = Bun.spawn([process.execPath, "--bun", launcher, ...words], {
        cwd: dir,
        env,
        stdout: "pipe",
        stderr: "pipe",
      });
      const message = (await new Response(run.stdout).text()) + (await new Response(run.stderr).text());
      expect(await run.exited).toBe(1);
      expect(message).toMatch(/absent.jsonc|Missing entry-point/);
      expect(message).not.toMatch(/unknown argument/i);
      rmSync(dir, { recursive: true });
    },
    60_000,
  );
});

describe("the wrangler config", () => {
  async function readAs(name: string, text: string): Promise<unknown> {
    const dir = mkdtempSync(join(tmpdir(), "config-"));
    writeFileSync(join(dir, name), text);
    const run = Bun.spawn([process.execPath, "-e", READ_CONFIG, join(dir, name)], { stdout: "pipe", stderr: "ignore" });
    const out = await new Response(run.stdout).text();
    rmSync(dir, { recursive: true });
    if ((await run.exited) !== 0) throw new Error("not read");
    return JSON.parse(out);
  }

  test("is read with comments and trailing commas, and as TOML", async () => {
    const jsonc = '{ // a\n "name": "a", /* b */ "env": { "staging": { "assets": { "directory": "./s" }, }, }, }';
    const toml =
      'name = "a"\n[env.staging]\nassets = { directory = "./s" }\n[[kv_namespaces]]\nbinding = "K"\nid = "1"\n';
    expect(await readAs("wrangler.jsonc", jsonc)).toEqual({
      name: "a",
      env: { staging: { assets: { directory: "./s" } } },
    });
    expect(await readAs("wrangler.toml", toml)).toMatchObject({ env: { staging: { assets: { directory: "./s" } } } });
    await expect(readAs("wrangler.jsonc", '{ "name": ')).rejects.toThrow("not read");
  });

  const config = {
    name: "shop",
    main: "src/worker.ts",
    assets: { directory: "./dist" },
    env: { staging: { assets: { directory: "./staging" } }, qa: { name: "quality" } },
  };

  test("has blocks whose Worker and folder differ", () => {
    expect(site(config, "staging")).toMatchObject({
      worker: "shop-staging",
      wranglerEnvironment: "staging",
      assets: "./staging",
    });
    expect(site(config, "qa")).toMatchObject({
      worker: "quality",
      wranglerEnvironment: "qa",
      assets: "./dist",
      hasCode: true,
      isBesideAssets: false,
    });
    for (const top of ["production", "", undefined, "toString"]) {
      expect(site(config, top)).toMatchObject({ worker: "shop", wranglerEnvironment: "", assets: "./dist" });
    }
    expect(site({ name: "a" }, "production")).toMatchObject({
      worker: "a",
      wranglerEnvironment: undefined,
      assets: undefined,
    });
    for (const odd of [null, 1, [], "x"]) expect(site(odd, "staging")).toMatchObject({ worker: "", hasCode: false });
  });

  test("says where the built folder belongs", () => {
    expect([undefined, "./dist", "dist/", "dist/client", "./a/../b"].map(distPath)).toEqual([
      "dist",
      "dist",
      "dist",
      "dist/client",
      "b",
    ]);
    for (const bad of [".", "./", "..", "../dist", "/etc", "a/../.."])
      expect(() => distPath(bad)).toThrow("inside the wrangler config's");
  });

  const facts: Facts = { accountId: "a", hasSource: true, adapter: false, entries: ["index.html"], alias: undefined };
  const plain = { name: "shop", assets: { directory: "./dist" } };
  test.each([
    ["an empty folder", plain, { entries: [] }, "empty"],
    ["a folder of settings alone", plain, { entries: ["_headers", "_redirects", ".assetsignore"] }, "empty"],
    ["another account", { ...plain, account_id: "b" }, {}, "`account_id` is b, but the account is a"],
    ["code without its sources", config, { hasSource: false }, "--source"],
    ["neither code nor files", { name: "shop" }, {}, "neither"],
    ["an alias that starts with a digit", plain, { alias: "42" }, "alias `42`"],
    ["an alias with capitals", plain, { alias: "MR-1" }, "alias `MR-1`"],
    ["a host name that is too long", plain, { alias: "a".repeat(60) }, "65 characters"],
  ] as const)("%s is refused", (_, what, change, reason) => {
    expect(refusal(site(what, undefined), { ...facts, ...change })).toContain(reason);
  });

  test("the rest is not refused", () => {
    expect(refusal(site(plain, undefined), { ...facts, alias: "mr-42", hasSource: false })).toBeUndefined();
    expect(refusal(site(config, "staging"), facts)).toBeUndefined();
    const rendered = { name: "app", main: "./.output/server/index.mjs", assets: { directory: ".output/public" } };
    expect(refusal(site(rendered, undefined), { ...facts, entries: [] })).toBeUndefined();
    expect(refusal(site({ ...rendered, main: "src/a.ts" }, undefined), { ...facts, entries: [] })).toContain("empty");
    expect(refusal(site({ ...plain, account_id: "a" }, undefined), facts)).toBeUndefined();
    expect(refusal(site({ name: "shop" }, undefined), { ...facts, adapter: true })).toBeUndefined();
    expect(refusal(site(plain, undefined), { ...facts, entries: ["_headers", "assets/"] })).toBeUndefined();
    expect(refusal(site({ name: "api", main: "a.ts" }, undefined), { ...facts, entries: undefined })).toBeUndefined();
  });
});

describe("a Worker that was never deployed", () => {
  const account = "a".repeat(32);

  /** Returns the program's output for this response of Cloudflare. */
  async function ask(worker: string, status: number, text: string): Promise<string> {
    const seen: string[] = [];
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        seen.push(`${request.method} ${new URL(request.url).pathname} ${request.headers.get("authorization")}`);
        return new Response(text, { status });
      },
    });
    const dir = mkdtempSync(join(tmpdir(), "ask-"));
    writeFileSync(join(dir, ".env"), `CLOUDFLARE_ACCOUNT_ID=other\nCLOUDFLARE_API_TOKEN=other\n`);
    writeFileSync(join(dir, "bunfig.toml"), 'preload = ["./preload.ts"]\n');
    writeFileSync(join(dir, "preload.ts"), 'throw new Error("code of the project ran");\n');
    const run = Bun.spawn([process.execPath, ...BUN_OPTIONS, "-e", READ_DEPLOYMENTS, worker], {
      cwd: dir,
      env: {
        CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${server.port}/client/v4`,
        CLOUDFLARE_ACCOUNT_ID: account,
        CLOUDFLARE_API_TOKEN: "t0ken",
      },
      stdout: "pipe",
      stderr: "ignore",
    });
    const printed = await new Response(run.stdout).text();
    await run.exited;
    await server.stop(true);
    rmSync(dir, { recursive: true });
    expect(seen).toEqual([`GET /client/v4/accounts/${account}/workers/scripts/${worker}/deployments Bearer t0ken`]);
    return printed;
  }

  const body = (success: boolean, more: object) => JSON.stringify({ success, errors: [], result: null, ...more });
  test.each([
    ["is told from one that was", 200, body(true, { result: { deployments: [{ id: "d" }] } }), undefined],
    ["has no deployments", 200, body(true, { result: { deployments: [] } }), "has never been deployed"],
    ["does not exist", 404, body(false, { errors: [{ code: 10_007, message: "no" }] }), "has never been deployed"],
    ["is not told by a token without rights", 403, body(false, { errors: [{ code: 10_000 }] }), "it answered 403"],
    ["is not told by a proxy", 502, "<html>", "it answered 502"],
    ["is not told by another URL", 302, "", "it answered 302"],
  ] as const)("%s", async (_, status, text, reason) => {
    const message = missingWorker("shop", await ask("shop", status, text));
    if (reason === undefined) expect(message).toBeUndefined();
    else expect(message).toContain(reason);
  });

  test("is not told by silence", () => {
    expect(missingWorker("shop", "")).toContain("no answer");
    expect(missingWorker("shop", "at x\nerror: Unable to connect\n")).toEndWith("exists: error: Unable to connect");
  });
});

test("the end of the output is plain text without short-lived tokens", () => {
  const jwt = ["eyJhbGciOiJub25lIn0", "eyJzdWIiOiIxIn0", "c2ln"].join(".");
  expect(
    tail(
      "\u001b[31mX \u001b[1;41mERROR\u001b[0m a\r\n\n\n",
      `\u001b]8;;https://x\u0007link  \nAuthorization: Bearer abc.def`,
      jwt,
    ),
  ).toBe("X ERROR a\nlink\nAuthorization: Bearer ***\n***");
  const long = tail(Array.from({ length: 500 }, (_, line) => `line ${line}`).join("\n"));
  expect(long.split("\n")).toHaveLength(80);
  expect(long).toEndWith("line 499");
  expect(tail("x".repeat(100_000)).length).toBe(12_000);
});

test("a folder is published where there are assets, ours or an adapter's, or nothing but files", () => {
  const published = (config: object, adapter: boolean, isBuilt = false) => hasAssets(site(config, undefined), adapter, isBuilt);
  expect(published({ main: "a.ts" }, false)).toBe(false);
  expect(published({ main: "a.ts" }, true)).toBe(true);
  expect(published({ main: "a.ts", assets: { directory: "dist" } }, false)).toBe(true);
  expect(published({ assets: { directory: "dist" } }, false)).toBe(true);
  expect(published({}, false)).toBe(true);
  // The built repository has the assets of the adapter's config already.
  expect(published({}, true, true)).toBe(false);
  expect(published({ main: "a.ts" }, true, true)).toBe(false);
  expect(published({ assets: { directory: "dist" } }, true, true)).toBe(true);
});
