import { describe, expect, test } from "bun:test";

import { BUN_OPTIONS } from "../cloudflare/src/arguments.js";
import { Cloudflare } from "../cloudflare/src/index.js";
import { ACCOUNT, CANARY, DEPLOYED, calls, runInSession, execs, foldersOf, inputs, prepares, projectOf, runsWrangler } from "./cloudflare-session.js";
import type { Chain, Session } from "./session.js";
import { dag } from "./stubs/dagger.js";

/** Returns the calls of the container in which most programs ran. */
const longest = (session: Session) =>
  session.asked.reduce((most, chain) => (execs(chain).length > execs(most).length ? chain : most));

const STEPS = JSON.stringify([
  {
    command: "wrangler d1 migrations apply DB --remote",
    arguments: ["d1", "migrations", "apply", "DB", "--remote"],
    reads: ["migrations"],
  },
]);

describe("deploy", () => {
  const deploy = (environment?: string, ...options: [tag?: string, message?: string, nonce?: string]) =>
    runInSession({}, () => new Cloudflare(environment).deploy(...inputs(), ...options));

  test("runs the pinned wrangler once, on the image of the shared configuration", async () => {
    const { session, chain } = await deploy("staging", "abc", "why", "n-1");
    expect(calls(chain, "from")).toEqual([{ address: "registry.example.com/bun:1.2.3" }]);
    const wrangler = execs(chain).filter(runsWrangler);
    expect(wrangler).toEqual([
      [
        ...["bun", ...BUN_OPTIONS, "/toolchain/node_modules/wrangler/bin/wrangler.js", "deploy"],
        ...["--autoconfig=false", "--strict", "--no-x-provision", "--env-file=/dev/null"],
        ...["--env=staging", "--tag=abc", "--message=why"],
      ],
    ]);
    const [installed] = calls(chain, "withDirectory").filter(({ path }) => path === "/toolchain");
    const made = installed?.["source"] as Chain;
    expect(execs(made)).toEqual([["bun", "install", "--frozen-lockfile", "--ignore-scripts"]]);
    const toolchain = calls(made, "withFile").filter(({ path }) => String(path).startsWith("/toolchain/"));
    expect(toolchain.map(({ path, source }) => [path, (source as Chain).at(-1)?.args])).toEqual([
      ["/toolchain/package.json", { path: "package.json" }],
      ["/toolchain/bun.lock", { path: "bun.lock" }],
    ]);
    // One `sync` runs it. All later reads are from the same container.
    const ran = session.asked.filter((asked) => execs(asked).some(runsWrangler));
    const upTo = (asked: Chain) => JSON.stringify(asked.slice(0, chain.length));
    expect(new Set(ran.map(upTo)).size).toBe(1);
    expect(chain.at(-1)?.name).toBe("withExec");
    expect(ran.map((asked) => asked.at(-1)?.name)).toEqual(["withExec", "exitCode", "contents", "stdout", "stderr"]);
  });

  test("has the nonce directly before the run, and everything that is cached before the token", async () => {
    const { chain } = await deploy("staging", "abc", "why", "n-1");
    const last = chain.slice(-6).map(({ name, args }) => [name, args["name"]]);
    expect(last).toEqual([
      ["withSecretVariable", "CLOUDFLARE_API_TOKEN"],
      ["withEnvVariable", "DEPLOY_NONCE"],
      ["withWorkdir", undefined],
      ["withExec", undefined],
      ["withWorkdir", undefined],
      ["withExec", undefined],
    ]);
    expect(chain.at(-5)?.args["value"]).toBe("n-1");
    expect(chain.at(-1)?.args["expect"]).toBe("ANY");
    expect(execs(chain).map((args) => [prepares(args), runsWrangler(args)])).toEqual([[true, false], [false, true]]);
  });

  test("never has the token as text", async () => {
    const { session, chain, record } = await deploy("staging");
    expect(session.queries.join("\n")).not.toContain(CANARY);
    expect(session.queries.join("\n")).not.toContain("plaintext");
    expect(JSON.stringify(record)).not.toContain(CANARY);
    const [secret] = calls(chain, "withSecretVariable");
    expect(secret?.["secret"]).toEqual([{ name: "secret", args: { uri: "env://CLOUDFLARE_WORKERS_TOKEN" } }]);
  });

  test("sets wrangler's environment", async () => {
    const { chain } = await deploy("staging");
    const variables = Object.fromEntries(calls(chain, "withEnvVariable").map(({ name, value }) => [name, value]));
    expect(variables).toMatchObject({
      BUN_JSC_thresholdForOptimizeAfterWarmUp: "20000",
      CI: "1",
      CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_HIDE_BANNER: "true",
      WRANGLER_OUTPUT_FILE_PATH: "/output/wrangler.ndjson",
      WRANGLER_SEND_METRICS: "false",
      WRANGLER_WRITE_LOGS: "false",
    });
    expect(variables).not.toHaveProperty("CLOUDFLARE_API_BASE_URL");
    expect(calls(chain, "withNewFile")).toEqual([{ path: "/output/wrangler.ndjson", contents: "" }]);
    expect(calls(chain, "withWorkdir").at(-1)).toEqual({ path: "/upload/folder" });
  });

  test("puts the built folder where the config says", async () => {
    const { chain } = await deploy();
    const project = projectOf(chain);
    expect(calls(project, "withFile").at(-1)?.["path"]).toBe("/src/wrangler.jsonc");
    expect(calls(project, "withoutDirectory")).toEqual([{ path: "/src/public/site" }]);
    expect(calls(project, "withDirectory").map(({ path }) => path)).toEqual(["/src/public/site"]);
    expect(execs(project)).toEqual([]);
    expect(execs(chain).at(-1)).toContain("--env=");
  });

  test("puts no folder beside a Worker of code alone, and does not look into it", async () => {
    const source = dag.directory().withNewFile("src/worker.ts", "export default {}");
    const code = { name: "api", main: "src/worker.ts" };
    const { chain, session } = await runInSession({ config: code, entries: [] }, () =>
      new Cloudflare("staging").withSource(source).deploy(...inputs()),
    );
    expect(foldersOf(chain)).toEqual(["/src"]);
    expect(calls(projectOf(chain), "withoutDirectory")).toEqual([]);
    expect(session.asked.some((asked) => asked.at(-1)?.name === "entries")).toBe(false);
    const both = { ...code, assets: { directory: "dist" } };
    const withAssets = await runInSession({ config: both }, () =>
      new Cloudflare("staging").withSource(source).deploy(...inputs()),
    );
    expect(foldersOf(withAssets.chain)).toEqual(["/src", "/src/dist"]);
  });

  test("asks for the environment's account", async () => {
    const asked = (session: Session) => session.asked.filter((chain) => chain.at(-1)?.name === "cloudflareAccountId");
    expect(asked((await deploy("staging")).session).map((chain) => chain.at(-1)?.args)).toEqual([
      { environment: "staging" },
    ]);
    expect(asked((await deploy()).session).map((chain) => chain.at(-1)?.args)).toEqual([{}]);
    const other = await runInSession({}, () =>
      new Cloudflare("staging", "b".repeat(32)).deploy(...inputs()),
    );
    expect(asked(other.session)).toEqual([]);
    expect(calls(other.chain, "withEnvVariable")).toContainEqual({
      name: "CLOUDFLARE_ACCOUNT_ID",
      value: "b".repeat(32),
    });
  });

  test("runs the steps before the upload between its preparation and the upload", async () => {
    const { session, record } = await runInSession({}, () =>
      new Cloudflare("staging").withBeforeDeploy(STEPS).deploy(...inputs(), "abc", "why", "n-1"),
    );
    const commands = execs(longest(session)).map((args) => (prepares(args) ? "prepare" : args.slice(args.indexOf("--env=staging")).join(" ")));
    expect(commands).toEqual(["prepare", "--env=staging d1 migrations apply DB --remote", "--env=staging --tag=abc --message=why"]);
    expect(record.steps).toEqual([{ command: "wrangler d1 migrations apply DB --remote", isOk: true }]);
  });

  test("a failed step uploads nothing", async () => {
    const { session, record } = await runInSession({ exitCode: 7, output: [] }, () =>
      new Cloudflare("staging").withBeforeDeploy(STEPS).deploy(...inputs(), "abc", "why", "n-1"),
    );
    expect(execs(longest(session)).some((args) => args.includes("--tag=abc"))).toBe(false);
    expect(record.steps).toEqual([{ command: "wrangler d1 migrations apply DB --remote", isOk: false }]);
    expect(record.error).toBe("the step `wrangler d1 migrations apply DB --remote` of `xtask.beforeDeploy` exited with 7; nothing was uploaded");
  });

  test("returns the record", async () => {
    const { record } = await runInSession(
      { output: [{ type: "wrangler-session", wrangler_version: "4.164.0" }, DEPLOYED] },
      () =>
        new Cloudflare("staging").deploy(...inputs(), "abc", "why", "n-1", "shop-site"),
    );
    expect(record).toEqual({
      schema: 1,
      command: "deploy",
      project: "shop-site",
      environment: "staging",
      nonce: "n-1",
      exitCode: 0,
      workerName: "shop",
      versionId: "v1",
      urls: ["https://shop.acme.workers.dev"],
      targets: ["https://shop.acme.workers.dev"],
      wrangler: "4.164.0",
      tag: "abc",
      message: "why",
      log: "Uploaded shop\na warning",
    });
  });

  test("a failed run is a record too", async () => {
    const output = [{ type: "command-failed", message: "Denied" }];
    const { record } = await runInSession({ exitCode: 1, output }, () => new Cloudflare("staging").deploy(...inputs()));
    expect(record).toMatchObject({
      exitCode: 1,
      versionId: null,
      workerName: "shop-staging",
      error: "wrangler exited with 1: Denied",
    });
    expect(record.nonce).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("reaches a stand-in of the API through a service", async () => {
    const { chain } = await runInSession({}, () =>
      new Cloudflare(undefined, undefined, dag.host().service([{ backend: 8787 }])).deploy(...inputs()),
    );
    expect(calls(chain, "withEnvVariable")).toContainEqual({
      name: "CLOUDFLARE_API_BASE_URL",
      value: "http://api:8787/client/v4",
    });
    expect(calls(chain, "withServiceBinding").map(({ alias }) => alias)).toEqual(["api"]);
  });
});
