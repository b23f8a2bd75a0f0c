// Runs the SDK's own parser of sources on every module, as the engine does. The engine rejects what it rejects.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { kebab, modules, objects, ROOT, type Module } from "./modules.js";

interface Argument {
  name: string;
  isOptional: boolean;
  defaultValue?: unknown;
  defaultPath?: string;
}

interface Scanned {
  description?: string;
  objects: Record<string, ScannedObject>;
}

interface ScannedObject {
  _constructor?: { arguments: Record<string, Argument> };
  methods: Record<string, { cache?: string; arguments: Record<string, Argument> }>;
  properties: Record<string, { isExposed: boolean }>;
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
  // The parser finds the API's types in a source file of this name.
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
    const isOptional = (argument: Argument) =>
      argument.isOptional || argument.defaultValue !== undefined || argument.defaultPath !== undefined;
    const names = (list: Record<string, Argument> = {}) => ({
      positional: Object.values(list).filter((argument) => !isOptional(argument)).map(({ name }) => kebab(name)),
      optional: Object.values(list).filter(isOptional).map(({ name }) => kebab(name)),
    });
    const found = Object.entries(scanned.objects).map(([name, object]) => {
      const methods = Object.entries(object.methods).map(([method, { cache, arguments: list }]) => [
        kebab(method),
        { ...names(list), ...(cache !== undefined && { cache }) },
      ]);
      const fields = Object.entries(object.properties).filter(([, { isExposed }]) => isExposed);
      const all = [...methods, ...fields.map(([field]) => [kebab(field), names()])];
      return [name, { constructor: names(object._constructor?.arguments), functions: Object.fromEntries(all) }];
    });
    const declared = objects(module).map(({ name, constructor, functions }) => {
      const all = Object.entries(functions).map(([own, { positional, optional, cache }]) => [
        own,
        { positional, optional, ...(cache !== undefined && { cache }) },
      ]);
      const { positional, optional } = constructor;
      return [name, { constructor: { positional, optional }, functions: Object.fromEntries(all) }];
    });
    expect(objects(module)[0]?.name.toLowerCase()).toBe(module.manifest.name);
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(declared));
  }, 30_000);
});
