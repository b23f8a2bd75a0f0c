// The SDK's own reader of sources, as the engine runs it, on every module: what it rejects, the engine rejects.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { functions, kebab, modules, ROOT, type Module } from "./modules.js";

interface Argument {
  name: string;
  isOptional: boolean;
  defaultValue?: unknown;
  defaultPath?: string;
}

interface Scanned {
  description?: string;
  objects: Record<string, { methods: Record<string, { cache?: string; arguments: Record<string, Argument> }> }>;
}

const SDK = join(import.meta.dir, "node_modules/@dagger.io/dagger");
let workspace: string;

beforeAll(() => {
  workspace = mkdtempSync(join(tmpdir(), "modules-"));
});
afterAll(() => rmSync(workspace, { recursive: true, force: true }));

async function scan(module: Module): Promise<Scanned> {
  const dir = join(workspace, module.manifest.name);
  const scope = join(dir, "node_modules/@dagger.io");
  mkdirSync(scope, { recursive: true });
  symlinkSync(SDK, join(scope, "dagger"));
  cpSync(join(ROOT, module.sourceDir, "src"), join(dir, "src"), { recursive: true });
  // The reader looks for the API's types in a source file of this name.
  const client = join(dir, "client.gen.ts");
  writeFileSync(client, readFileSync(join(SDK, "dist/src/api/client.gen.d.ts"), "utf8"));
  const sources = readdirSync(join(dir, "src")).map((name) => join(dir, "src", name));
  const reader = (await import(join(SDK, "dist/src/module/introspector/index.js"))) as {
    scan: (files: string[], name: string, load: boolean) => Promise<Scanned>;
  };
  return reader.scan([...sources, client], module.manifest.name, false);
}

describe.each(modules().map((module) => [module.dir, module] as const))("%s", (_, module: Module) => {
  test("is read as its signatures say", async () => {
    const scanned = await scan(module);
    expect(scanned.description).toBeTruthy();
    expect(Object.keys(scanned.objects).map((name) => name.toLowerCase())).toEqual([module.manifest.name]);
    const methods = Object.values(scanned.objects)[0]?.methods ?? {};
    const found = Object.entries(methods).map(([name, method]) => {
      const list = Object.values(method.arguments);
      const isOptional = (argument: Argument) =>
        argument.isOptional || argument.defaultValue !== undefined || argument.defaultPath !== undefined;
      const positional = list.filter((argument) => !isOptional(argument)).map((argument) => kebab(argument.name));
      const optional = list.filter(isOptional).map((argument) => kebab(argument.name));
      return [kebab(name), { positional, optional, ...(method.cache !== undefined && { cache: method.cache }) }];
    });
    const expected = Object.entries(functions(module)).map(([name, { positional, optional, cache }]) => [
      name,
      { positional, optional, ...(cache !== undefined && { cache }) },
    ]);
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
  }, 30_000);
});
