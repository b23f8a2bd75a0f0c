/** What a build left that wrangler would follow out of the project. */
export interface Left {
  /** Symbolic links in the folder that is published that lead out of the project: where each stands, and where it leads. */
  links: [path: string, target: string][];
  /** The config that wrangler will follow in place of ours; its value is nothing where there is no such file in the project. */
  config?: { path: string; value?: unknown };
}

/** Where to look, all of it but `root` relative to it. */
export interface Place {
  /** The project's folder, absolute. */
  root: string;
  /** The folder that is published. */
  folder?: string | undefined;
  /** The file that names the config to follow. */
  redirect?: string | undefined;
}

/** Prints the {@link Left} of the {@link Place} that its last argument is. */
export const LOOK = `
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
const { root, folder, redirect } = JSON.parse(process.argv.at(-1));
const real = (path) => {
  try {
    return realpathSync(path);
  } catch {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? resolve(dirname(path), readlinkSync(path)) : path;
  }
};
const inside = (path) => (path + "/").startsWith(realpathSync(root) + "/");
const left = { links: [] };
const walk = (path) => {
  const kind = lstatSync(path);
  if (kind.isDirectory()) for (const name of readdirSync(path)) walk(join(path, name));
  if (kind.isSymbolicLink() && !inside(real(path))) left.links.push([relative(root, path), real(path)]);
};
if (folder !== undefined) walk(join(root, folder));
if (redirect !== undefined) {
  const file = join(root, redirect);
  const { configPath } = inside(real(file)) ? JSON.parse(readFileSync(file, "utf8")) : {};
  const path = resolve(dirname(file), String(configPath));
  left.config = { path: relative(root, path) };
  if (inside(real(path)) && lstatSync(path, { throwIfNoEntry: false })?.isFile()) {
    const type = path.endsWith(".toml") ? "toml" : "jsonc";
    left.config.value = (await import(path, { with: { type } })).default;
  }
}
process.stdout.write(JSON.stringify(left));`;

/** Why what a build left must not go to Cloudflare, or nothing. */
export function unfit(left: Left, worker: string, accountId: string): string | undefined {
  const [link] = left.links;
  if (link !== undefined) {
    return `${link[0]} leads out of the project, to ${link[1]}: put a copy of it there, or remove the symbolic link`;
  }
  if (left.config === undefined) return undefined;
  const { path, value } = left.config;
  const why = foreign(value, worker, accountId);
  return why === undefined
    ? undefined
    : `${path}, which the build left: ${why}. See what the build's adapter does with the wrangler config, and remove \`.wrangler/deploy\` if nothing needs it`;
}

/** Why a generated config is not about our Worker. */
function foreign(value: unknown, worker: string, accountId: string): string | undefined {
  if (typeof value !== "object" || value === null) return "it is no config of the project";
  const { name, account_id: account, build } = value as Record<string, unknown>;
  if (name !== worker) return `it deploys the Worker \`${String(name)}\`, and the project's config \`${worker}\``;
  if (typeof account === "string" && account.toLowerCase() !== accountId.toLowerCase()) {
    return `its \`account_id\` is not ${accountId}`;
  }
  if ((build as { command?: unknown } | undefined)?.command != null) {
    return "its `build.command` would run with the deployment's token in its environment";
  }
  return undefined;
}
