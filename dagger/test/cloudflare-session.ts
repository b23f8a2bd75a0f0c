// Runs the functions of the Cloudflare module in a session with the results of wrangler that a test sets.
import { expect } from "bun:test";

import { READ_DEPLOYMENTS } from "../cloudflare/src/deployments.js";
import type { DeploymentRecord } from "../cloudflare/src/record.js";
import { inSession, type Answers, type Call, type Chain, type Session } from "./session.js";
import type { Deployment } from "../cloudflare/src/deployment.js";
import { dag } from "./stubs/dagger.js";

export const CANARY = "canary-token-value";
export const ACCOUNT = "a".repeat(32);
export const SITE = { name: "shop", assets: { directory: "./public/site" }, env: { staging: {} } };
export const DEPLOYED = {
  type: "deploy",
  worker_name: "shop",
  version_id: "v1",
  targets: ["https://shop.acme.workers.dev"],
};
export const UPLOADED = {
  type: "version-upload",
  worker_name: "shop",
  version_id: "v2",
  preview_alias_url: "https://mr-42-shop.acme.workers.dev",
};

export interface CloudflareState {
  config?: unknown;
  name?: string;
  entries?: string[];
  glob?: Record<string, string[]>;
  exitCode?: number;
  output?: unknown[];
  comment?: string;
  /** The standard error of the program that prepares the upload, which then exits with 3. */
  refusal?: string;
  /** The exit code of the first step. */
  bundleExit?: number;
  /** The printed response of Cloudflare about the Worker's deployments. */
  deployments?: string;
}

/** A response of Cloudflare, in the printed format. */
export const answered = (status: number, body: unknown) => JSON.stringify({ status, text: JSON.stringify(body) });

/** Creates a session with the results in `world`. */
export function answers(world: CloudflareState): Answers {
  return (last, chain) => {
    const before = chain.at(-2)?.name;
    if (last === "contents" && chain[0]?.name === "file") return chain[0].args["contents"];
    if (last === "contents") return (world.output ?? [DEPLOYED]).map((entry) => JSON.stringify(entry)).join("\n");
    if (last === "stdout" && asks(chain)) {
      return world.deployments ?? answered(200, { success: true, errors: [], result: { deployments: [{ id: "d0" }] } });
    }
    const exec = execs(chain).at(-1) ?? [];
    if (prepares(exec) && last === "exitCode") return world.refusal === undefined ? 0 : 3;
    if (prepares(exec) && last === "stderr") return world.refusal ?? "";
    if (bundles(exec) && last === "exitCode") return world.bundleExit ?? 0;
    if (last === "stdout" && isRead(chain)) return JSON.stringify(world.config ?? SITE);
    if (last === "glob" && before !== undefined) return world.glob?.[String(chain.at(-1)?.args["pattern"])] ?? [];
    const known: Record<string, unknown> = {
      image: "registry.example.com/bun:1.2.3",
      name: world.name ?? "wrangler.jsonc",
      cloudflareAccountId: ACCOUNT,
      entries: world.entries ?? ["index.html"],
      exitCode: world.exitCode ?? 0,
      stdout: "Uploaded shop",
      stderr: "a warning",
      endpoint: "h4sh:8787",
      plaintext: CANARY,
      postMergeRequestComment: world.comment ?? '{"action":"created","note":1,"removed":[]}',
    };
    if (last === "postMergeRequestComment" && world.comment === "") throw new Error("GitLab answered 401");
    return known[last];
  };
}

export const isRead = (chain: Chain) => execs(chain).some((args) => args[1] === "-e");
export const asks = (chain: Chain) => execs(chain).some((args) => args.includes(READ_DEPLOYMENTS));
export const calls = (chain: Chain, name: string): Call["args"][] =>
  chain.filter((call) => call.name === name).map(({ args }) => args);
export const execs = (chain: Chain): string[][] => calls(chain, "withExec").map(({ args }) => args as string[]);
export const prepares = (args: string[]) => args.some((word) => word.endsWith("prepare-upload.js"));
export const bundles = (args: string[]) => args.includes("--dry-run");
export const runsWrangler = (args: string[]) => args.some((word) => word.endsWith("wrangler.js")) && !bundles(args);

/** Returns the container with the project's folder, in which all code of the project has run. */
export const projectOf = (chain: Chain): Chain =>
  calls(chain, "withDirectory").find(({ path }) => path === "/src")?.["source"] as Chain;

/** Returns the folders of the project in that container. */
export const foldersOf = (chain: Chain) =>
  calls(projectOf(chain), "withDirectory").map(({ path }) => path).filter((path) => String(path).startsWith("/src"));

export const inputs = () =>
  [
    dag.directory().withNewFile("index.html", "x"),
    dag.file("wrangler.jsonc", "{}"),
    dag.secret("env://CLOUDFLARE_WORKERS_TOKEN"),
  ] as const;

export async function runInSession(
  world: CloudflareState,
  work: () => Promise<Deployment>,
): Promise<{ record: DeploymentRecord; session: Session; chain: Chain }> {
  const { result, session } = await inSession(answers(world), async () => (await work()).record().contents());
  const ran = session.asked.filter((chain) => execs(chain).some(runsWrangler));
  const [chain] = ran;
  if (chain === undefined) throw new Error("wrangler did not run");
  return { record: JSON.parse(result) as DeploymentRecord, session, chain };
}

export async function refused(world: CloudflareState, work: () => Promise<Deployment>): Promise<string> {
  let message = "";
  const { session } = await inSession(answers(world), async () => {
    message = await work().then(
      () => "",
      (error: Error) => error.message,
    );
  });
  expect(session.asked.some((chain) => execs(chain).some(runsWrangler))).toBe(false);
  return message;
}
