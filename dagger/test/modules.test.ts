import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join, normalize } from "node:path";

import { functions, modules, ROOT, type Module } from "./modules.js";

const all = modules();
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const json = (path: string) => JSON.parse(read(path)) as Record<string, unknown>;

test("every module is there", () => {
  const names = all.map(({ manifest }) => manifest.name);
  expect(names).toEqual(expect.arrayContaining(["bun", "cloudflare", "config", "gitlab", "website"]));
});

describe.each(all.map((module) => [module.dir, module] as const))("%s", (dir, module: Module) => {
  const { manifest, sourceDir, files } = module;

  // The lowest supported version, since the exit code of `dagger` can be trusted from there on. An engine refuses modules
  // that ask for a newer one.
  test("dagger.json", () => {
    expect(Object.keys(manifest).filter((key) => !["include", "dependencies"].includes(key))).toEqual([
      "name",
      "engineVersion",
      "sdk",
      "source",
    ]);
    expect(manifest.engineVersion).toBe("v0.20.2");
    expect(manifest.sdk).toEqual({ source: "typescript" });
    for (const pattern of manifest.include ?? []) expect(pattern).toStartWith("!");
  });

  test("dependencies are modules of this repository, by their own names", () => {
    for (const { name, source } of manifest.dependencies ?? []) {
      const path = normalize(join(dir, source));
      expect(source.startsWith("../")).toBe(true);
      expect(json(join(path, "dagger.json"))["name"]).toBe(name);
    }
    const used = files.flatMap((path) => [...read(path).matchAll(/\bdag\s*\.(config|gitlab|bun|cloudflare)\(/g)]);
    const declared = (manifest.dependencies ?? []).map(({ name }) => name);
    expect([...new Set(used.map(([, name]) => name))].sort()).toEqual(declared.sort());
  });

  // With exactly this file the engine skips the install of the module. A module on Bun needs no image of Node.
  test("no npm dependency, on Bun", () => {
    expect(json(join(sourceDir, "package.json"))).toEqual({
      type: "module",
      dagger: { runtime: "bun" },
      dependencies: { typescript: "5.9.3" },
    });
    const others = ["bun.lock", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "deno.json"];
    for (const file of others) expect(existsSync(join(ROOT, sourceDir, file))).toBe(false);
    for (const path of files) {
      for (const [, from] of read(path).matchAll(/\bfrom "([^"]+)"/g)) {
        expect(from).toMatch(/^(?:@dagger\.io\/dagger|node:[a-z]+|\.\/[\w-]+\.js)$/);
      }
    }
  });

  test("sources", () => {
    expect(files).toContain(join(sourceDir, "src/index.ts"));
    for (const path of files) {
      const text = read(path);
      expect(text.split("\n").length).toBeLessThanOrEqual(300);
      expect(text).not.toContain("ExecError"); // Not in the engine's bundle: importing it breaks the module there.
      expect(text).not.toMatch(/\.from\("/); // Images are named in the shared configuration.
      expect(text).not.toMatch(/\b(?:apk|apt-get|apt|npx|bunx)\b/);
    }
    expect(read(join(sourceDir, "src/index.ts"))).toStartWith("/**\n"); // The module's description.
  });

  test("every function and argument is described", () => {
    const text = read(join(sourceDir, "src/index.ts"));
    const camel = (name: string) => name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    for (const [name, { positional, optional }] of Object.entries(functions(module))) {
      const before = text.slice(0, text.search(new RegExp(`^  (?:async )?${camel(name)}\\(`, "m")));
      const comment = before.slice(before.lastIndexOf("/**\n"));
      const described = [...comment.matchAll(/@param (\w+) \S/g)].map(([, argument]) => argument);
      expect(described.sort()).toEqual([...positional, ...optional].map(camel).sort());
    }
  });
});

test("the code of another module is called as its source says", () => {
  const stubs = read("dagger/test/stubs/dependencies.ts");
  for (const name of ["bun", "config", "gitlab"]) {
    const module = all.find(({ manifest }) => manifest.name === name);
    if (module === undefined) throw new Error(`no module ${name}`);
    const camel = (word: string) => word.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const start = stubs.indexOf(`export class ${camel(`-${name}`)} `);
    const end = stubs.indexOf("\n}\n", start);
    const declared = [...stubs.slice(start, end).matchAll(/^ {2}(\w+) = \(([^)]*)\)/gms)].map(([, own, list = ""]) => [
      own,
      [...list.matchAll(/(\w+): \w+/g)].map(([, argument]) => argument),
    ]);
    const expected = Object.entries(functions(module)).map(([own, { positional }]) => [
      camel(own),
      positional.map(camel),
    ]);
    expect(declared).toEqual(expected);
    for (const [own, { optional }] of Object.entries(functions(module))) {
      const type = `${camel(`-${name}`)}${camel(`-${own}`)}Opts = {`;
      const options = stubs.includes(type) ? stubs.slice(stubs.indexOf(type)).split("}", 1)[0] : "";
      expect([...(options?.matchAll(/(\w+)\?:/g) ?? [])].map(([, argument]) => argument)).toEqual(optional.map(camel));
    }
  }
});

test("what a preview and a deployment take by position", () => {
  const cloudflare = all.find(({ manifest }) => manifest.name === "cloudflare");
  const found = cloudflare === undefined ? {} : functions(cloudflare);
  const three = ["dist", "wrangler-config", "cloudflare-api-token"];
  expect(found["deploy"]?.positional).toEqual(three);
  expect(found["upload"]?.positional).toEqual(three);
  expect(found["preview"]?.positional).toEqual([...three, "gitlab-api-token", "merge-request-id"]);
  // With a longer lifetime, a second deployment would be a cache hit. With `never`, each field that is read would deploy again.
  for (const name of ["deploy", "upload", "preview"]) expect(found[name]?.cache).toBe("session");
});
