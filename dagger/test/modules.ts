// Reads the Dagger modules of this repository and their sources.
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

/** A function, with its names on the command line. */
export interface Signature {
  /** Required arguments, in order. */
  positional: string[];
  /** Optional arguments. */
  optional: string[];
  /** The types of all arguments. */
  types: Record<string, string>;
  returns: string;
  /** The lifetime of cached results, if the function sets one. */
  cache?: string;
}

/** Returns every module below `dagger/` and `projects/`. */
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

/** An object of a module: the module itself, or a result of one of its functions. */
export interface ModuleObject {
  name: string;
  /** The arguments of the constructor. */
  constructor: Signature;
  /** The functions and fields by their names on the command line. */
  functions: Record<string, Signature>;
}

/** Returns the objects of a module, the module itself first. */
export function objects(module: Module): ModuleObject[] {
  const found = module.files.flatMap((file) => {
    const path = join(ROOT, file);
    const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ESNext, true);
    const classes = source.statements.filter(ts.isClassDeclaration);
    return classes.filter((node) => decorator(node, "object") !== undefined).map(moduleObject);
  });
  const isMain = ({ name }: ModuleObject) => name.toLowerCase() === module.manifest.name;
  return [...found.filter(isMain), ...found.filter((object) => !isMain(object))];
}

/** Returns the functions of a module by their names on the command line. */
export function functions(module: Module): Record<string, Signature> {
  return objects(module)[0]?.functions ?? {};
}

function moduleObject(node: ts.ClassDeclaration): ModuleObject {
  const isExposed = (member: ts.ClassElement): member is ts.MethodDeclaration | ts.PropertyDeclaration =>
    (ts.isMethodDeclaration(member) || ts.isPropertyDeclaration(member)) && decorator(member, "func") !== undefined;
  const exposed = node.members.filter(isExposed);
  const made = node.members.find(ts.isConstructorDeclaration);
  const nothing: Signature = { positional: [], optional: [], types: {}, returns: "" };
  return {
    name: node.name?.getText() ?? "",
    constructor: made === undefined ? nothing : signature(made),
    functions: Object.fromEntries(
      exposed.map((member) => [
        kebab(member.name.getText()),
        ts.isMethodDeclaration(member) ? signature(member) : { ...nothing, returns: member.type?.getText() ?? "unknown" },
      ]),
    ),
  };
}

/** Converts `camelCase` to the spelling of the command line. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function signature(method: ts.MethodDeclaration | ts.ConstructorDeclaration): Signature {
  const isOptional = (parameter: ts.ParameterDeclaration) =>
    parameter.questionToken !== undefined ||
    parameter.initializer !== undefined ||
    /\bdefault(?:Path|Address)\b/.test(decorator(parameter, "argument")?.getText() ?? "");
  const name = (parameter: ts.ParameterDeclaration) => kebab(parameter.name.getText());
  const typed = method.parameters.map((parameter) => [name(parameter), parameter.type?.getText() ?? "unknown"]);
  const func = ts.isMethodDeclaration(method) ? decorator(method, "func") : undefined;
  const cache = /\bcache:\s*"([^"]+)"/.exec(func?.getText() ?? "")?.[1];
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
