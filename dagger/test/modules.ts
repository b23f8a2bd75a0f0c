// The Dagger modules of this repository, and what their sources say.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import ts from "typescript";

/** The repository's root. */
export const ROOT = join(import.meta.dir, "../..");

/** A module: a folder with a `dagger.json`. */
export interface Module {
  /** Its folder, relative to the root. */
  dir: string;
  /** The parsed `dagger.json`. */
  manifest: Manifest;
  /** The folder of its `package.json`, relative to the root. */
  sourceDir: string;
  /** Its source files, relative to the root. */
  files: string[];
}

export interface Manifest {
  name: string;
  engineVersion: string;
  sdk: { source: string };
  source: string;
  include?: string[];
  dependencies?: { name: string; source: string }[];
}

/** A function, with the names that the command line shows. */
export interface Signature {
  /** Arguments that must be given, in their order. */
  positional: string[];
  /** Arguments that may be given by name. */
  optional: string[];
  /** The types of all arguments. */
  types: Record<string, string>;
  returns: string;
  /** The lifetime of cached results, if the function sets one. */
  cache?: string;
}

/** Every module below `dagger/` and `projects/`. */
export function modules(): Module[] {
  const manifests = ["dagger", "projects"].flatMap((dir) => find(join(ROOT, dir), "dagger.json"));
  return manifests.sort().map((path) => {
    const manifest = JSON.parse(readFileSync(path, "utf8")) as Manifest;
    const sourceDir = join(dirname(path), manifest.source);
    const files = existsSync(join(sourceDir, "src")) ? find(join(sourceDir, "src"), ".ts") : [];
    const fromRoot = (found: string) => relative(ROOT, found);
    return {
      dir: fromRoot(dirname(path)),
      manifest,
      sourceDir: fromRoot(sourceDir),
      files: files.sort().map(fromRoot),
    };
  });
}

/** The functions of a module by their names on the command line. */
export function functions(module: Module): Record<string, Signature> {
  const path = join(ROOT, module.sourceDir, "src/index.ts");
  const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ESNext, true);
  const classes = file.statements
    .filter(ts.isClassDeclaration)
    .filter((node) => decorator(node, "object") !== undefined);
  const methods = classes.flatMap((node) => node.members.filter(ts.isMethodDeclaration));
  const exposed = methods.filter((method) => decorator(method, "func") !== undefined);
  return Object.fromEntries(exposed.map((method) => [kebab(method.name.getText()), signature(method)]));
}

/** `camelCase` as the command line writes it. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function signature(method: ts.MethodDeclaration): Signature {
  const isOptional = (parameter: ts.ParameterDeclaration) =>
    parameter.questionToken !== undefined ||
    parameter.initializer !== undefined ||
    /\bdefault(?:Path|Address)\b/.test(decorator(parameter, "argument")?.getText() ?? "");
  const name = (parameter: ts.ParameterDeclaration) => kebab(parameter.name.getText());
  const typed = method.parameters.map((parameter) => [name(parameter), parameter.type?.getText() ?? "unknown"]);
  const cache = /\bcache:\s*"([^"]+)"/.exec(decorator(method, "func")?.getText() ?? "")?.[1];
  return {
    positional: method.parameters.filter((parameter) => !isOptional(parameter)).map(name),
    optional: method.parameters.filter(isOptional).map(name),
    types: Object.fromEntries(typed),
    returns: method.type?.getText().replace(/^Promise<(.*)>$/s, "$1") ?? "unknown",
    ...(cache !== undefined && { cache }),
  };
}

function decorator(node: ts.HasDecorators, name: string): ts.CallExpression | undefined {
  const calls = (ts.getDecorators(node) ?? []).map(({ expression }) => expression).filter(ts.isCallExpression);
  return calls.find(({ expression }) => expression.getText() === name);
}

function find(dir: string, suffix: string): string[] {
  const skipped = ["node_modules", "sdk", "dist", "test"];
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return skipped.includes(entry.name) ? [] : find(path, suffix);
    return entry.name.endsWith(suffix) ? [path] : [];
  });
}
