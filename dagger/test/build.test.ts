import { expect, test } from "bun:test";

import { Bun as Builder } from "../bun/src/index.js";
import { Website } from "../../projects/rawkode.academy/website/.dagger/src/index.js";
import { inSession, type Chain, type Session } from "./session.js";
import { dag } from "./stubs/dagger.js";

const IMAGE = "registry.example.com/bun:1.2.3";
const source = () => dag.directory().withNewFile("package.json", "{}");
const image = (last: string) => (last === "image" ? IMAGE : undefined);
const named = (chain: Chain, name: string) => chain.filter((call) => call.name === name).map(({ args }) => args);

function builds(session: Session): Chain {
  const [asked, ...more] = session.asked.filter((chain) => chain.at(-1)?.name !== "image");
  expect(more).toEqual([]);
  return asked ?? [];
}

function expectBuild(chain: Chain) {
  expect(named(chain, "from")).toEqual([{ address: IMAGE }]);
  expect(named(chain, "withMountedCache")).toEqual([
    { path: "/var/cache/bun", cache: [{ name: "cacheVolume", args: expect.objectContaining({ key: "bun-install" }) }] },
  ]);
  expect(named(chain, "withEnvVariable")).toContainEqual({ name: "BUN_INSTALL_CACHE_DIR", value: "/var/cache/bun" });
  // Every failed program stops the build, because no run sets `expect`.
  const [install, ...run] = named(chain, "withExec");
  expect(install).toEqual({ args: ["bun", "install", "--frozen-lockfile"] });
  expect(run).toHaveLength(1);
  expect(chain.some(({ name }) => /secret/i.test(name))).toBe(false);
}

test("a project without its own module", async () => {
  const { session } = await inSession(image, async () => {
    await (await new Builder().build(source())).sync();
  });
  const chain = builds(session);
  expectBuild(chain);
  expect(named(chain, "withExec")[1]).toEqual({ args: ["bun", "--bun", "run", "build"] });
  expect(chain.at(-1)).toEqual({ name: "directory", args: { path: "/src/dist" } });
  // The output of an earlier build does not count as this one's.
  const [mounted] = named(chain, "withDirectory");
  expect(mounted).toMatchObject({ path: "/src" });
  expect((mounted?.["source"] as Chain).at(-1)).toEqual({ name: "withoutDirectory", args: { path: "dist" } });
  expect(named(chain, "withEnvVariable").map(({ name }) => name)).not.toContain("CLOUDFLARE_ENV");
});

test("with a script, a folder and its own environment", async () => {
  const { session } = await inSession(image, async () => {
    await (await new Builder().build(source(), "build:site", "out", "staging")).sync();
  });
  const chain = builds(session);
  expectBuild(chain);
  expect(named(chain, "withExec")[1]).toEqual({ args: ["bun", "--bun", "run", "build:site"] });
  expect(named(chain, "withEnvVariable")).toContainEqual({ name: "CLOUDFLARE_ENV", value: "staging" });
  expect(chain.at(-1)).toEqual({ name: "directory", args: { path: "/src/out" } });
});

test("the website is built by the shared module", async () => {
  const { session } = await inSession(image, async () => {
    await new Website().build(source()).sync();
  });
  const chain = builds(session);
  expect(chain.map(({ name }) => name)).toEqual(["bun", "build"]);
  expect((chain[1]?.args["source"] as Chain).at(-1)?.name).toBe("withNewFile");
});
