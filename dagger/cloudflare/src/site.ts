import { posix } from "node:path";

import type { Strategy } from "./arguments.js";

type Fields = Record<string, unknown>;

/** The fields of a wrangler config for one environment that a deployment depends on. */
export interface Site {
  /** The Worker's name in this environment. */
  worker: string;
  /** The value of `--env`. Undefined if the config has no blocks at all. */
  wranglerEnvironment: string | undefined;
  /** `true` if the Worker has code. */
  hasCode: boolean;
  /** The folder of static assets, relative to the config file. */
  assets: string | undefined;
  /** `true` if the code is in the same output as the assets. A site that is rendered on request may have no assets. */
  isBesideAssets: boolean;
  /** `account_id`, which would override the requested account. */
  accountId: string | undefined;
  /** `true` if wrangler runs a `build.command` before it bundles. */
  builds: boolean;
  /** `true` if there is a `previews` block, which blocks of `env` inherit. */
  previews: boolean;
}

/**
 * Reads a parsed wrangler config with wrangler's inheritance: a block of `env` replaces the fields that it names, and its
 * Worker is called `<name>-<environment>` unless the block has a name.
 *
 * @param environment The environment. Its block is used if there is one, else the top level.
 * @param workerName The name that replaces a missing one at the top level.
 */
export function site(config: unknown, environment: string | undefined, workerName = ""): Site {
  const top = fields(config);
  const blocks = fields(top["env"]);
  const hasBlock = environment !== undefined && environment !== "" && Object.hasOwn(blocks, environment);
  const block = hasBlock ? fields(blocks[environment]) : {};
  const get = (key: string) => block[key] ?? top[key];
  const name = string(top["name"]) ?? workerName;
  const main = string(get("main"));
  const assets = string(fields(get("assets"))["directory"]);
  const output = (path: string) => posix.normalize(path).split("/")[0];
  return {
    worker: hasBlock ? (string(block["name"]) ?? `${name}-${environment}`) : name,
    wranglerEnvironment: hasBlock ? environment : Object.keys(blocks).length > 0 ? "" : undefined,
    hasCode: main !== undefined,
    assets,
    isBesideAssets: main !== undefined && assets !== undefined && output(main) === output(assets),
    accountId: string(get("account_id")),
    builds: string(fields(get("build"))["command"]) !== undefined,
    previews: isFields(get("previews")),
  };
}

/**
 * Returns `true` if the dist folder is published. A Worker of code alone publishes none. Its dist argument is ignored and
 * not copied next to the code, where it could hide a folder of that name.
 *
 * @param adapter `true` if an adapter generated the config that wrangler will use. Our config does not name its
 * assets.
 * @param isBuilt `true` if the request has the built repository, which contains the assets of that config.
 */
export function hasAssets(site: Site, adapter: boolean, isBuilt: boolean): boolean {
  return site.assets !== undefined || (adapter ? !isBuilt : !site.hasCode);
}

/** The facts that a refusal depends on, in addition to the config. */
export interface Facts {
  accountId: string;
  /** `true` if the request has the sources. */
  hasSource: boolean;
  /** `true` if an adapter generated the config that wrangler will follow. */
  adapter: boolean;
  /** The names at the top of the published folder. `undefined` if no folder is published. */
  entries: readonly string[] | undefined;
  alias: string | undefined;
  /** The kind of a preview. `undefined` for a deployment. */
  strategy?: Strategy | undefined;
}

/** Files of an assets folder that are settings, not content. */
const SETTINGS = ["_headers", "_redirects", ".assetsignore"];

/** Returns the reason to refuse an upload that wrangler would silently accept. `undefined` if there is none. */
export function refusal(site: Site, facts: Facts): string | undefined {
  const mayBeEmpty = site.isBesideAssets || (facts.adapter && site.hasCode);
  if (!mayBeEmpty && facts.entries?.every((entry) => SETTINGS.includes(entry.replace(/\/$/, "")))) {
    return "the dist folder is empty: it would publish an empty site";
  }
  if (site.accountId !== undefined && site.accountId !== facts.accountId) {
    return `\`account_id\` is ${site.accountId}, but the account is ${facts.accountId}: remove it from the wrangler config`;
  }
  if (site.hasCode && !facts.hasSource && !facts.adapter) {
    return "the wrangler config has `main`: pass the project's folder as `--source`, so that wrangler can bundle it";
  }
  if (!site.hasCode && site.assets === undefined && !facts.adapter) {
    return "the wrangler config has neither `main` nor `assets.directory`";
  }
  if (facts.strategy === "preview" && !site.previews) {
    return 'it has no `previews` block, which says what a preview has for bindings: add `"previews": {}` or one with `vars`';
  }
  return facts.alias === undefined ? undefined : badAlias(facts.alias, site.worker);
}

/** Cloudflare's rules for aliases (https://developers.cloudflare.com/workers/configuration/previews/). */
function badAlias(alias: string, worker: string): string | undefined {
  if (!/^[a-z][a-z0-9-]*$/.test(alias)) {
    return `the alias \`${alias}\` must start with a lower-case letter and hold only lower-case letters, digits and dashes`;
  }
  const length = `${alias}-${worker}`.length;
  return length > 63
    ? `\`${alias}-${worker}\` has ${length} characters, but a host name's part has at most 63`
    : undefined;
}

/**
 * Returns the place of the dist folder, relative to the config file's folder.
 *
 * @throws If the config places it outside of its folder, or names the folder itself.
 */
export function distPath(assets: string | undefined): string {
  const path = posix.normalize(assets ?? "dist").replace(/\/$/, "");
  if (posix.isAbsolute(path) || path === "." || path === ".." || path.startsWith("../")) {
    throw new Error(
      `\`assets.directory\` is \`${assets}\`: it must be a folder inside the wrangler config's own folder`,
    );
  }
  return path;
}

/** Returns the fields of a value. Empty if the value is not an object. */
export function fields(value: unknown): Fields {
  return isFields(value) ? value : {};
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function string(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
