import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { cloudflare, entry, parse } from "../config/src/read.js";
import { Config } from "../config/src/index.js";
import { ROOT } from "./modules.js";
import { inSession } from "./session.js";

const TEXT = readFileSync(join(ROOT, "dagger/config/config.json"), "utf8");
const FILE = {
  cloudflare: { accountId: "a".repeat(32), tokenVariable: "CLOUDFLARE_WORKERS_TOKEN" },
  gitlab: { url: "https://gitlab.example.com/git/", projectId: "7", tokenVariable: "CICD_COMMENT_TOKEN" },
  environments: { staging: { cloudflare: { accountId: "b".repeat(32) } }, production: { protected: true } },
  tools: { bun: "1.2.3" },
  images: { bun: "registry.example.com/bun:1.2.3" },
};

describe("the file", () => {
  test("the repository's own is read", () => {
    const config = parse(TEXT);
    for (const name of ["local", "", undefined, ...Object.keys(config.environments)]) {
      expect(cloudflare(config, name).accountId).toMatch(/^[0-9a-f]{32}$/);
    }
    expect(entry(config.images, "images", "bun")).not.toBe("");
  });

  test("an environment replaces single fields", () => {
    const config = parse(JSON.stringify(FILE));
    expect(cloudflare(config, "staging")).toEqual({ ...FILE.cloudflare, accountId: "b".repeat(32) });
    expect(cloudflare(config, "production")).toEqual(FILE.cloudflare);
  });

  test("what is not there is an error that names what is", () => {
    const config = parse(JSON.stringify(FILE));
    for (const name of ["prodution", "toString", "__proto__"]) {
      expect(() => cloudflare(config, name)).toThrow(
        `unknown environment \`${name}\`; config.json has: local, staging, production`,
      );
    }
    expect(() => entry(config.images, "images", "node")).toThrow("no `images.node`; there is: bun");
    expect(() => parse("{")).toThrow("config.json: ");
    expect(() => parse("null")).toThrow("`cloudflare`, `gitlab`");
    expect(() => parse('{"cloudflare":{},"gitlab":{},"environments":{},"tools":{}}')).toThrow("`images` missing");
  });
});

test("the functions read the file of their module", async () => {
  const config = new Config();
  const { result, session } = await inSession(
    (last) => (last === "contents" ? JSON.stringify(FILE) : undefined),
    () =>
      Promise.all([
        config.cloudflareAccountId(),
        config.cloudflareAccountId("staging"),
        config.cloudflareTokenVariable("staging"),
        config.gitlabProjectId(),
        config.gitlabUrl(),
        config.image("bun"),
        config.toolVersion("bun"),
      ]),
  );
  expect(result).toEqual([
    "a".repeat(32),
    "b".repeat(32),
    "CLOUDFLARE_WORKERS_TOKEN",
    "7",
    "https://gitlab.example.com/git",
    "registry.example.com/bun:1.2.3",
    "1.2.3",
  ]);
  const [chain] = session.asked;
  expect(chain?.map(({ name }) => name)).toEqual(["currentModule", "source", "file", "contents"]);
  expect(chain?.[2]?.args).toEqual({ path: "config.json" });
});
