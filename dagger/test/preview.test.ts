import { describe, expect, test } from "bun:test";

import { BUN_OPTIONS } from "../cloudflare/src/arguments.js";
import { READ_DEPLOYMENTS } from "../cloudflare/src/deployments.js";
import type { Deployment } from "../cloudflare/src/deployment.js";
import { Cloudflare } from "../cloudflare/src/index.js";
import {
  SITE,
  UPLOADED,
  answered,
  answers,
  asks,
  calls,
  runInSession,
  execs,
  foldersOf,
  inputs,
  prepares,
  projectOf,
  refused,
  runsWrangler,
  type CloudflareState,
} from "./cloudflare-session.js";
import { inSession, type Session } from "./session.js";
import { dag } from "./stubs/dagger.js";

describe("a Worker with code", () => {
  const config = { name: "api", main: "src/worker.ts", assets: { directory: "dist" } };
  const source = () => dag.directory().withNewFile("src/worker.ts", "");
  const deploy = (world: CloudflareState) => runInSession(world, () => new Cloudflare().withSource(source()).deploy(...inputs()));

  test("is bundled from its sources, which are there before the built folder", async () => {
    const { chain } = await deploy({ config, glob: { "bun.lock": ["bun.lock"] } });
    expect(foldersOf(chain)).toEqual(["/src", "/src/dist"]);
    const project = projectOf(chain);
    expect(execs(project).map((args) => args.slice(0, 3))).toEqual([
      ["bun", "install", "--frozen-lockfile"],
      ["bun", ...BUN_OPTIONS.slice(0, 2)],
    ]);
    expect(execs(projectOf((await deploy({ config })).chain))).toHaveLength(1);
  });

  test("is bundled where no token is, and uploaded where none of its code ran", async () => {
    const { chain } = await deploy({ config, glob: { "bun.lock": ["bun.lock"] } });
    const project = projectOf(chain);
    expect(calls(project, "withSecretVariable")).toEqual([]);
    expect(project.map(({ name }) => name).lastIndexOf("withDirectory")).toBeGreaterThan(
      project.findIndex(({ name }) => name === "withExec"),
    );
    expect(execs(project).at(-1)?.slice(5)).toEqual([
      ...["deploy", "--dry-run", "--config=wrangler.jsonc", "--autoconfig=false", "--env-file=/dev/null"],
      ...["--assets=/bundle/empty", "--outdir=/bundle/dir", "--outfile=/bundle/bundle.form"],
    ]);
    expect(execs(chain).map((args) => [prepares(args), runsWrangler(args)])).toEqual([[true, false], [false, true]]);
    const [request] = execs(chain).filter(prepares).map((args) => JSON.parse(args.at(-1) ?? "") as object);
    expect(request).toEqual({
      root: "/src",
      project: "/src",
      config: "/src/wrangler.jsonc",
      environment: null,
      redirected: false,
      bundle: "/bundle/bundle.form",
      upload: "/upload/folder",
      account: "a".repeat(32),
      name: null,
      reads: [],
    });
  });

  test("that cannot be bundled is a record of a failure, and nothing gets the token", async () => {
    const { result, session } = await inSession(answers({ config, bundleExit: 1 }), async () =>
      (await new Cloudflare().withSource(source()).deploy(...inputs())).record().contents(),
    );
    expect(JSON.parse(result)).toMatchObject({ exitCode: 1, versionId: null, error: "wrangler exited with 1" });
    expect(session.asked.some((asked) => calls(asked, "withSecretVariable").length > 0)).toBe(false);
  });

  test("of an adapter follows the config that the adapter generated", async () => {
    const redirect = ".wrangler/deploy/config.json";
    const { chain } = await deploy({ config, glob: { [redirect]: [redirect] } });
    expect(
      execs(projectOf(chain))
        .at(-1)
        ?.some((word) => word.startsWith("--config=") && !BUN_OPTIONS.includes(word)),
    ).toBe(false);
  });
});

describe("preview", () => {
  const world = { output: [UPLOADED] };
  const preview = (change: CloudflareState = {}) =>
    runInSession({ ...world, ...change }, () =>
      new Cloudflare().preview(...inputs(), dag.secret("env://CICD_COMMENT_TOKEN"), "42"),
    );
  const posts = (session: Session) => session.asked.filter((chain) => chain.at(-1)?.name === "postMergeRequestComment");

  test("uploads under the merge request's alias and comments", async () => {
    const { chain, record, session } = await preview();
    expect(execs(chain).at(-1)?.slice(2 + BUN_OPTIONS.length)).toEqual([
      ...[
        "versions",
        "upload",
        "--strict",
        "--no-x-provision",
        "--env-file=/dev/null",
        "--preview-alias=mr-42",
        "--env=",
      ],
    ]);
    expect(record).toMatchObject({ command: "preview", alias: "mr-42", versionId: "v2", comment: "created" });
    const [post, ...more] = posts(session);
    expect(more).toEqual([]);
    expect(post?.at(-1)?.args).toMatchObject({
      token: [{ name: "secret", args: { uri: "env://CICD_COMMENT_TOKEN" } }],
      mergeRequestIid: "42",
      marker: "preview shop",
      nonce: record.nonce,
    });
    expect(String(post?.at(-1)?.args["body"])).toContain("<https://mr-42-shop.acme.workers.dev>");
    expect(session.queries.join("\n")).not.toContain("plaintext");
  });

  test("comments through the stand-in that it uploads to", async () => {
    const { session } = await runInSession(world, () =>
      new Cloudflare(undefined, undefined, dag.host().service([{ backend: 8787 }])).preview(...inputs(), dag.secret("env://CICD_COMMENT_TOKEN"), "42"),
    );
    expect(posts(session)[0]?.at(-1)?.args["api"]).toBeDefined();
    expect(posts((await preview()).session)[0]?.at(-1)?.args).not.toHaveProperty("api");
  });

  test("comments on a failure, and survives one of the comment", async () => {
    const failed = await preview({ exitCode: 1, output: [] });
    expect(String(posts(failed.session)[0]?.at(-1)?.args["body"])).toContain("failed");
    const silent = await preview({ comment: "" });
    expect(silent.record.exitCode).toBe(0);
    expect(silent.record.error).toBeUndefined();
    expect(silent.record.comment).toContain("failed: ");
  });

  test("of the other strategy has a name, a deployment and no version", async () => {
    const made = {
      type: "preview",
      worker_name: "shop",
      preview_name: "mr-7",
      preview_urls: ["https://mr-7-shop.acme.workers.dev"],
      deployment_id: "d1",
      deployment_urls: ["https://d1-shop.acme.workers.dev"],
    };
    const none = undefined;
    const upload = (strategy: string) => () =>
      new Cloudflare().upload(...inputs(), "mr-7", none, none, none, none, strategy);
    const config = { ...SITE, previews: {} };
    const { chain, record } = await runInSession({ config, output: [made] }, upload("preview"));
    expect(execs(chain).at(-1)?.slice(5)).toEqual(["preview", "--name=mr-7", "--env-file=/dev/null", "--env="]);
    expect(record).toMatchObject({ strategy: "preview", versionId: null, deploymentId: "d1" });
    expect(record.urls).toEqual([...made.preview_urls, ...made.deployment_urls]);
    expect(record).not.toHaveProperty("error");
    const other = await runInSession({ config, output: [UPLOADED] }, upload("preview"));
    expect(other.record.error).toContain("names no version");
    expect(await refused({ config: SITE }, upload("preview"))).toContain("no `previews` block");
    expect(await refused({ config }, upload("previw"))).toContain("`previw` is not a strategy");

    const unknown = answered(404, { success: false, errors: [{ code: 10_007, message: "no" }], result: null });
    const never = await refused({ config, deployments: unknown }, upload("preview"));
    expect(never).toBe(
      "refused, nothing was changed: wrangler.jsonc: the Worker `shop` has never been deployed, and a preview needs one: deploy it first",
    );
    const asking = await runInSession({ config, output: [made], deployments: unknown }, upload("alias"));
    expect(asking.session.asked.some(asks)).toBe(false);
  });

  test("of the other strategy asks with the token and the nonce, and for nothing else of the folder", async () => {
    const config = { ...SITE, previews: {} };
    const none = undefined;
    const upload = () =>
      new Cloudflare().upload(...inputs(), "mr-7", none, none, "n1", none, "preview");
    const { session } = await runInSession({ config, output: [] }, upload);
    const [chain] = session.asked.filter(asks);
    expect(chain && execs(chain).at(-1)).toEqual(["bun", ...BUN_OPTIONS, "-e", READ_DEPLOYMENTS, "shop"]);
    expect(chain && calls(chain, "withEnvVariable").at(-1)).toEqual({ name: "DEPLOY_NONCE", value: "n1" });
    expect(chain && calls(chain, "withSecretVariable")).toHaveLength(1);
  });

  test("without a comment is `upload`", async () => {
    const { record, session } = await runInSession(world, () => new Cloudflare().upload(...inputs(), "mr-7"));
    expect(record).toMatchObject({ command: "preview", alias: "mr-7" });
    expect(record).not.toHaveProperty("comment");
    expect(posts(session)).toEqual([]);
  });
});

describe("a result", () => {
  const deploy = (world: CloudflareState) => async () => {
    let result: Deployment | undefined;
    const { session } = await runInSession(world, async () => (result = await new Cloudflare().deploy(...inputs(), "t", "m", "n-1")));
    if (result === undefined) throw new Error("no result");
    return { result, session };
  };

  test("has what callers ask for first", async () => {
    const { result } = await deploy({})();
    const { exitCode, error, versionId, urls, nonce } = result;
    expect({ exitCode, error, versionId, urls, nonce }).toEqual({
      exitCode: 0,
      error: "",
      versionId: "v1",
      urls: ["https://shop.acme.workers.dev"],
      nonce: "n-1",
    });
    expect(result.check()).toBe(result);
  });

  test("of a failed run is an error on request", async () => {
    const { result } = await deploy({ exitCode: 1, output: [{ type: "command-failed", message: "Denied" }] })();
    expect({ versionId: result.versionId, urls: result.urls }).toEqual({ versionId: "", urls: [] });
    expect(() => result.check()).toThrow("wrangler exited with 1: Denied");
  });
});

test("a workspace replaces the sources, and holds the project's folder", async () => {
  const workspace = dag.directory().withNewFile("projects/api/src/worker.ts", "");
  const { chain } = await runInSession({ config: { name: "api", main: "src/worker.ts" } }, () =>
    new Cloudflare().withWorkspace(workspace, "projects/api").withFlags('["--minify","--keep-vars"]').deploy(...inputs()),
  );
  expect(foldersOf(chain)).toEqual(["/src"]);
  const project = projectOf(chain);
  expect(calls(project, "withWorkdir").at(-1)).toEqual({ path: "/src/projects/api" });
  expect(execs(project).at(-1)).toContain("--minify");
  expect(execs(chain).at(-1)).toContain("--keep-vars");
  const outside = () => new Cloudflare().withWorkspace(workspace, "../api").deploy(...inputs());
  expect(await refused({}, outside)).toBe("refused, nothing was changed: `../api` is not a folder of the workspace");
});

test("a name replaces a missing one in the config", async () => {
  const source = dag.directory().withNewFile("worker.ts", "");
  const { chain } = await runInSession({ config: { main: "worker.ts" } }, () =>
    new Cloudflare().withSource(source).withWorkerName("api").deploy(...inputs()),
  );
  expect(execs(projectOf(chain)).at(-1)).toContain("--name=api");
  const [request] = execs(chain).filter(prepares).map((args) => JSON.parse(args.at(-1) ?? "") as { name: string });
  expect(request?.name).toBe("api");
});

describe("refused before wrangler runs", () => {
  test.each([
    ["an empty folder", { entries: [] }, "empty site"],
    ["code without its sources", { config: { name: "api", main: "a.ts" } }, "--source"],
    ["another account", { config: { ...SITE, account_id: "c" } }, "`account_id`"],
    ["not a wrangler config", { name: "package.yaml" }, "is not a wrangler config"],
    [
      "a folder outside",
      { config: { name: "shop", assets: { directory: "../dist" } } },
      "inside the wrangler config's own folder",
    ],
  ] as [string, CloudflareState, string][])("%s", async (_, world, reason) => {
    expect(await refused(world, () => new Cloudflare().deploy(...inputs()))).toContain(reason);
  });

  test("what the program that prepares the upload refuses", async () => {
    const refusal = "refused: public/site/.env looks private (`.env`), and would be published\nhint: add a line `.env`\n";
    expect(await refused({ refusal }, () => new Cloudflare().deploy(...inputs()))).toBe(
      "refused, nothing was changed: wrangler.jsonc: public/site/.env looks private (`.env`), and would be published: add a line `.env`",
    );
    const broken = "1 | x\nerror: something else\n";
    expect(await refused({ refusal: broken }, () => new Cloudflare().deploy(...inputs()))).toContain(
      "the upload could not be prepared: error: something else",
    );
  });

  test("an alias or a merge request that cannot be", async () => {
    expect(await refused({}, () => new Cloudflare().upload(...inputs(), "42"))).toContain("the alias `42`");
    expect(await refused({}, () => new Cloudflare().preview(...inputs(), dag.secret("env://T"), "!42"))).toContain(
      "not a merge request number",
    );
  });
});
