// What a build left: symbolic links out of the project, and a config that wrangler would follow.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Cloudflare } from "../cloudflare/src/index.js";
import { LOOK, unfit, type Left, type Place } from "../cloudflare/src/left.js";
import { ACCOUNT, SITE, carriedOut, inputs, refused } from "./cloudflare-session.js";
import { dag } from "./stubs/dagger.js";

const REDIRECT = ".wrangler/deploy/config.json";
let root = "";

beforeAll(() => {
  root = join(mkdtempSync(join(tmpdir(), "left-")), "src");
  for (const folder of ["dist/deep", "shared", ".wrangler/deploy"]) mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, "dist/index.html"), "x");
});
afterAll(() => rmSync(join(root, ".."), { recursive: true }));

/** What the program prints, on the Bun that a container has. */
async function look(place: Omit<Place, "root">): Promise<Left> {
  const child = Bun.spawn([process.execPath, "-e", LOOK, JSON.stringify({ root, ...place })], {
    cwd: "/",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  return JSON.parse(text) as Left;
}

test("links that stay in the project are files like others, those that leave it are named", async () => {
  const links: [string, string, boolean][] = [
    ["dist/also.html", "index.html", false],
    ["dist/deep/shared", "../../shared", false],
    ["dist/nothing", "not-there", false],
    ["dist/environ", "/proc/self/environ", true],
    ["dist/deep/up", "../../../..", true],
    ["dist/gone", "/not/there", true],
    ["dist/near", "../../src-other", true],
  ];
  for (const [path, target] of links) symlinkSync(target, join(root, path));
  const found = (await look({ folder: "dist" })).links.map(([path]) => path);
  expect(found.sort()).toEqual(links.flatMap(([path, , leaves]) => (leaves ? [path] : [])).sort());
});

test("a folder that is a link is one too", async () => {
  symlinkSync("/proc/self", join(root, "out"));
  expect((await look({ folder: "out" })).links).toHaveLength(1);
});

test("the config to follow is read where it is in the project", async () => {
  const redirect = async (configPath: unknown) => {
    writeFileSync(join(root, REDIRECT), JSON.stringify({ configPath }));
    return (await look({ redirect: REDIRECT })).config;
  };
  writeFileSync(join(root, "dist/wrangler.json"), '{ "name": "shop" /* generated */ }');
  expect(await redirect("../../dist/wrangler.json")).toEqual({ path: "dist/wrangler.json", value: { name: "shop" } });
  for (const path of ["../../../elsewhere.json", "/etc/hostname", "../../dist/missing.json", undefined, 7]) {
    expect((await redirect(path))?.value).toBeUndefined();
  }
});

test("a config about another Worker, account or build is refused", () => {
  const said = (value: unknown) => unfit({ links: [], config: { path: "dist/wrangler.json", value } }, "shop", ACCOUNT);
  expect(said({ name: "shop", account_id: ACCOUNT.toUpperCase() })).toBeUndefined();
  expect(said({ name: "taken" })).toContain("dist/wrangler.json, which the build left: it deploys the Worker `taken`");
  expect(said({ name: "shop", account_id: "b" })).toContain("its `account_id` is not");
  expect(said({ name: "shop", build: { command: "x" } })).toContain("`build.command`");
  expect(said(undefined)).toContain("no config of the project");
});

test("wrangler is not run on either", async () => {
  const deploy = () => new Cloudflare().deploy(...inputs());
  const links: Left["links"] = [["public/site/key", "/proc/self/environ"]];
  expect(await refused({ left: { links } }, deploy)).toBe(
    "refused, nothing was changed: wrangler.jsonc: public/site/key leads out of the project, to /proc/self/environ: put a copy of it there, or remove the symbolic link",
  );
  const source = dag.directory().withNewFile("src/worker.ts", "export default {}");
  const followed = { config: { ...SITE, main: "src/worker.ts" }, glob: { [REDIRECT]: [REDIRECT] } };
  const left = (name: string) => ({ links: [], config: { path: "dist/wrangler.json", value: { name } } });
  const work = () => new Cloudflare().deploy(...inputs(), undefined, source);
  expect(await refused({ ...followed, left: left("taken") }, work)).toContain("it deploys the Worker `taken`");
  const { record } = await carriedOut({ ...followed, left: left("shop") }, work);
  expect(record.exitCode).toBe(0);
});
