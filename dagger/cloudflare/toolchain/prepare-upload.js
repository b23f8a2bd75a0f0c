/**
 * Finds the lines of `_redirects` and `_headers` that Cloudflare drops without a word. It is a part of the program that
 * prepares an upload, and is put in front of it.
 */

/**
 * The limits of both files
 * (https://developers.cloudflare.com/workers/static-assets/redirects/ and https://developers.cloudflare.com/workers/static-assets/headers/).
 */
const MOST = { staticRules: 2000, dynamicRules: 100, headerRules: 100, line: 2000 };

/** The status codes of a redirect. */
const STATUS_CODES = [200, 301, 302, 303, 307, 308];

const isUrl = (text) => /^https:\/\/+[^/]/.test(text);

/** Returns a path as Cloudflare compares it, without its query. `undefined` if it cannot be read. */
function normalPath(path) {
  const url = URL.parse(`relative://${path.startsWith("/") ? path : `/${path}`}`);
  return url === null ? undefined : url.pathname;
}

const isDynamic = (path) => /\*|:[A-Za-z]/.test(path);

/** Yields the lines that are no comment and not blank, with their numbers. `drop` gets those that are too long. */
function* ruleLines(text, drop) {
  for (const [index, raw] of text.split("\n").entries()) {
    const [number, line] = [index + 1, raw.trim()];
    if (line === "" || line.startsWith("#")) continue;
    if (line.length > MOST.line) drop(number, `it is longer than ${MOST.line} characters`);
    else yield { number, line };
  }
}

/** Calls `drop` for each line of `_redirects` that Cloudflare drops (observed with the parser of wrangler 4.164). */
function droppedRedirects(text, htmlHandling, drop) {
  const sources = new Set();
  const count = { staticRules: 0, dynamicRules: 0 };
  for (const { number, line } of ruleLines(text, drop)) {
    const words = line.replace(/\s+#.*$/, "").split(/\s+/);
    if (words.length < 2 || words.length > 3) {
      drop(number, `it has ${words.length === 1 ? "1 word" : `${words.length} words`}; a rule is a source, a target and perhaps a status code`);
      continue;
    }
    const [source, target, code = "302"] = words;
    const from = isUrl(source) ? undefined : normalPath(source);
    if (from === undefined) {
      drop(number, "the source has to be a path of this site, which begins with `/`");
      continue;
    }
    // After the first dynamic rule, all count as dynamic.
    const kind = count.dynamicRules > 0 || isDynamic(from) ? "dynamicRules" : "staticRules";
    count[kind] += 1;
    if (count.dynamicRules > MOST.dynamicRules) {
      drop(number, `there are more than ${MOST.dynamicRules} rules with \`*\` or \`:name\`, or below one; it and all lines below are dropped`);
      return;
    }
    if (count.staticRules > MOST.staticRules) {
      drop(number, `there are more than ${MOST.staticRules} rules without \`*\` and \`:name\``);
      continue;
    }
    const isAbsolute = isUrl(target);
    const path = isAbsolute ? target.replace(/^https:\/\/+[^/]+\/?/, "/") : target;
    if (!path.startsWith("/") || normalPath(path) === undefined) {
      drop(number, "the target has to begin with `/` or `https://`");
      continue;
    }
    if (!STATUS_CODES.includes(Number(code))) {
      drop(number, `the status code \`${code}\` is none of ${STATUS_CODES.join(", ")}`);
      continue;
    }
    const isIndex = /\/index(.html)?$/.test(URL.parse(`relative://${path}`).href);
    if (!isAbsolute && isIndex && (from.endsWith("/*") || (from.endsWith("/") && htmlHandling !== "none"))) {
      drop(number, "it would redirect to itself, because Cloudflare redirects `/index.html` to `/`");
    } else if (sources.has(from)) {
      drop(number, `a line above has a rule for \`${from}\``);
    } else {
      sources.add(from);
      if (isAbsolute && Number(code) === 200) drop(number, "with the status code 200 the target has to be a path of this site");
    }
  }
}

/** Calls `drop` for each line of `_headers` that Cloudflare drops (observed with the parser of wrangler 4.164). */
function droppedHeaders(text, drop) {
  let rules = 0;
  let rule;
  let isSkipped = false;
  const end = () => {
    if (rule === undefined) return;
    if (rule.headers > 0) rules += 1;
    else drop(rule.number, "no header is below the path");
  };
  for (const { number, line } of ruleLines(text, drop)) {
    if (/^([^\s]+:\/\/|\/)/.test(line)) {
      if (rules >= MOST.headerRules) {
        drop(number, `there are more than ${MOST.headerRules} rules; it and all lines below are dropped`);
        break;
      }
      end();
      rule = undefined;
      const wildcards = line.split("*").length - 1;
      const host = /^https:\/\/+([^/]+)/.exec(line)?.[1];
      let reason;
      if (host === undefined && !line.startsWith("/")) reason = "the address has to begin with `/` or `https://`";
      else if (host !== undefined && /:\d+$/.test(host)) reason = "an address with a port has no headers";
      else if (host === undefined && normalPath(line) === undefined) reason = "the path cannot be read";
      else if (wildcards > 1) reason = "a path has at most one `*`; use `:name` for the others";
      else if (wildcards > 0 && /:splat(?!\w)/.test(line)) reason = "a path has `*` or `:splat`, not both";
      isSkipped = reason !== undefined;
      if (isSkipped) drop(number, `${reason}; the headers below it are dropped too`);
      else rule = { number, headers: 0 };
      continue;
    }
    if (isSkipped) continue;
    if (!line.includes(":")) {
      if (rule === undefined) drop(number, "no path is above it");
      else if (line.startsWith("! ")) rule.headers += 1;
      else drop(number, "a header is `name: value`, or `! name` to remove one");
      continue;
    }
    const [name, value] = [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()];
    if (name.includes(" ")) drop(number, "the name of a header has no spaces");
    else if (name === "") drop(number, "the header has no name");
    else if (value === "") drop(number, "the header has no value");
    else if (rule === undefined) drop(number, "no path is above it");
    else rule.headers += 1;
  }
  end();
}

/** Finds the config that an adapter generated, and what else its build wrote. */

/** Returns the content of the file in which an adapter names its config. `undefined` if it is not JSON. */
function readRedirect() {
  try {
    return JSON.parse(read(join(request.project, REDIRECT), 1 << 20).toString("utf8"));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    return undefined;
  }
}

/** Prints the Workers that the plugin of Vite built in addition to the project's own. Wrangler deploys only that one. */
function warnOfAuxiliaryWorkers() {
  const listed = field(readRedirect(), "auxiliaryWorkers");
  for (const worker of Array.isArray(listed) ? listed : []) {
    const path = field(worker, "configPath");
    if (typeof path !== "string") continue;
    const file = resolve(dirname(join(request.project, REDIRECT)), path);
    let name;
    try {
      name = field(JSON.parse(read(file, 1 << 20).toString("utf8")), "name");
    } catch {
      // The warning names the file instead.
    }
    const what = typeof name === "string" ? `the Worker \`${name}\` (${shown(file)})` : `the Worker of ${shown(file)}`;
    const project = typeof name === "string" && /^[\w-]+$/.test(name) ? name : "PROJECT";
    const text = `${what} was built, but this run does not deploy it: deploy the project with its own wrangler config, by \`cargo xtask deploy ${project}\``;
    console.error(`warning: ${printable(text)}`);
  }
}
/**
 * Prepares the second step of a deployment: the upload.
 *
 * The first step runs `wrangler deploy --dry-run --outfile` without any credential, because a wrangler config can run
 * code of the project and a bundle can import any file. This program reads the output of that step and writes a folder
 * from which wrangler uploads without running or bundling anything: a config with only fields of a fixed list, and one
 * file for each module. It refuses uploads that need more, and files that contain the token.
 *
 * Both engines and the scripts of `--dry-run` run this file on Bun. Its last argument is a JSON object:
 *
 * - `root`: the folder that every file must be in, absolute.
 * - `project`: the folder of the project, absolute.
 * - `config`: the wrangler config, absolute.
 * - `environment`: the block of `env` to use. `null` is the top level.
 * - `redirected`: `true` if wrangler uses the config of an adapter. `null` if it does where there is one.
 * - `bundle`: the output of the first step, absolute. `null` if there was nothing to bundle.
 * - `upload`: the folder to write, absolute.
 * - `account`: the id of the account. `null` for the sandbox, which accepts every account.
 * - `name`: the name that replaces a missing one at the top level of the project's config. Missing or `null` for none.
 * - `reads`: the files and folders that steps before the upload read with the token, absolute. A folder may be missing.
 *
 * Exits with 3 after a refusal. The last lines then begin with `refused: ` and `hint: `. Lines that begin with
 * `warning: ` name lines of `_redirects` and `_headers` that have no effect.
 */
import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, readFileSync, readdirSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, isAbsolute, join, posix, relative, resolve } from "node:path";

/** The file in which an adapter names the config that wrangler follows. */
const REDIRECT = ".wrangler/deploy/config.json";

/** The fields that a block of `env` inherits from the top level. */
const INHERITED = [
  "access", "assets", "cache", "compatibility_date", "compatibility_flags", "compliance_region", "exports",
  "first_party_worker", "limits", "logfwdr", "logpush", "main", "migrations", "name", "observability", "placement",
  "preview_urls", "previews", "route", "routes", "triggers", "upload_source_maps", "workers_dev",
];

/** The fields that a block of `env` has to repeat. */
const REPEATED = [
  "agent_memory", "ai", "ai_search", "ai_search_namespaces", "analytics", "analytics_engine_datasets", "artifacts",
  "browser", "cloudchamber", "connect", "containers", "d1_databases", "dispatch_namespaces", "durable_objects",
  "flagship", "hyperdrive", "images", "k2", "kv_namespaces", "media", "mtls_certificates", "pipelines", "queues",
  "r2_buckets", "ratelimits", "secrets", "secrets_store_secrets", "send_email", "services", "stream",
  "streaming_tail_consumers", "tail_consumers", "unsafe", "unsafe_hello_world", "vars", "vectorize",
  "version_metadata", "vpc_networks", "vpc_services", "worker_loaders", "workflows",
];

/** The fields that only the top level has. */
const TOP_LEVEL = ["addresses", "keep_vars", "site"];

/** The fields that affect only the first step, other commands, or wrangler's own messages. */
const LEFT_OUT = [
  "$schema", "account_id", "alias", "base_dir", "build", "define", "dependencies_instrumentation", "dev", "env",
  "find_additional_modules", "jsx_factory", "jsx_fragment", "keep_names", "minify", "no_bundle",
  "preserve_file_names", "python_modules", "rules", "send_metrics", "tsconfig",
  // Wrangler ignores these of its older versions.
  "miniflare", "type", "usage_model", "webpack_config", "zone_id",
];

/** The next step if a generated config has `env`. The same text is in the crate `cloudflare`. */
const ENV_HINT = "let the build choose the environment by the variable CLOUDFLARE_ENV, as Cloudflare's plugin for Vite does; for Nitro and Nuxt set `cloudflare: { deployConfig: false }` in the config of Nitro, and `main` and `assets` in the wrangler config";

/** The fields that adapters write in addition to those of wrangler. */
const OF_ADAPTERS = ["configPath", "definedEnvironments", "legacy_env", "targetEnvironment", "topLevelName", "userConfigPath"];

/** The fields that cannot be deployed in two steps, each with the reason and the fix. */
const IMPOSSIBLE = {
  data_blobs: ["wrangler would read its files in the process that has the token", "import the file from the Worker's code, as a module"],
  pages_build_output_dir: ["this is a Pages project", "see https://developers.cloudflare.com/workers/static-assets/migration-guides/migrate-from-pages/"],
  text_blobs: ["wrangler would read its files in the process that has the token", "import the file from the Worker's code, as a module"],
  wasm_modules: ["wrangler would read its files in the process that has the token", "import the file from the Worker's code, as a module"],
};

/** The fields of `assets`. */
const ASSETS = ["base_path", "binding", "directory", "html_handling", "not_found_handling", "run_worker_first"];

/** The fields of `previews`. Other fields of a config have no effect there. */
const PREVIEWS = [
  ...REPEATED, "cache", "limits", "logpush", "observability", "placement",
];

/** The type of a module's rule by the type that wrangler sends it with. */
const RULES = {
  "application/javascript": "CommonJS",
  "application/javascript+module": "ESModule",
  "application/octet-stream": "Data",
  "application/wasm": "CompiledWasm",
  "text/javascript": "CommonJS",
  "text/plain": "Text",
  "text/x-python": "PythonModule",
};

/** The largest bundle, in bytes. Cloudflare accepts 64 MiB before compression. */
const LARGEST_BUNDLE = 256 << 20;

/** The largest asset that Cloudflare accepts, in bytes. */
const LARGEST_ASSET = 25 << 20;

/** The files at the top of the assets that are settings. */
const SETTINGS = ["_headers", "_redirects", ".assetsignore"];

/** The names of files and folders that are private wherever they are. */
const PRIVATE = [
  /^\.env(\..+)?$/, /^\.dev\.vars(\..+)?$/, /^\.git$/, /^\.npmrc$/, /^\.yarnrc(\.yml)?$/, /^\.netrc$/, /^\.pypirc$/,
  /^\.git-credentials$/, /^\.htpasswd$/, /^\.ssh$/, /^\.aws$/, /^\.docker$/, /^id_(rsa|dsa|ecdsa|ed25519)(_sk)?$/,
  /\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk)$/i, /^\.wrangler$/, /^\.xtask$/, /^\.terraform$/, /\.tfstate(\.backup)?$/,
];

/** A reason not to upload. */
class Refusal extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

const refuse = (message, hint) => {
  throw new Refusal(message, hint);
};

/** Returns the own field of an object, and `undefined` for one that it only inherits. */
const field = (object, name) => (isObject(object) && Object.hasOwn(object, name) ? object[name] : undefined);

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const pick = (object, names) => Object.fromEntries(names.flatMap((name) => (Object.hasOwn(object, name) ? [[name, object[name]]] : [])));

/** Returns a path as a person writes it. */
const shown = (path) => relative(request.root, path) || ".";

/** Returns where a path leads, after every symbolic link. */
function real(path) {
  try {
    return realpathSync(path);
  } catch {
    const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink();
    if (isLink) return refuse(`${shown(path)} is a symbolic link that leads to nothing`, "remove it or create its target, then deploy again");
    return refuse(`${shown(path)} does not exist`, "create it, or correct the wrangler config");
  }
}

const isInside = (folder, path) => path === folder || path.startsWith(folder === "/" ? folder : `${folder}/`);

/** Reads a regular file that is in the repository and at most `largest` bytes long. */
function read(path, largest) {
  const target = real(path);
  if (!isInside(real(request.root), target)) refuse(`${shown(path)} leads out of the repository, to ${target}`, "put a copy of it into the repository");
  return readRegular(target, path, largest);
}

function readRegular(target, path, largest) {
  // Neither a link that replaced the file since, nor a pipe that never ends.
  const file = openSync(target, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) refuse(`${shown(path)} is not a regular file`, "replace it by a regular file");
    if (stat.size > largest) refuse(`${shown(path)} has ${stat.size} bytes, and Cloudflare takes files of at most ${largest} (${largest >> 20} MiB)`, "make it smaller, or serve it from R2; a line in .assetsignore leaves it out");
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

/** Reads a wrangler config by its name. A repeated key has its last value, as for wrangler. */
function parse(path) {
  const text = read(path, 4 << 20).toString("utf8").replace(/^\uFEFF/, "");
  try {
    return path.endsWith(".toml") ? Bun.TOML.parse(text) : Bun.JSONC.parse(text);
  } catch (error) {
    return refuse(`${shown(path)}: ${error.message}`, "correct the file");
  }
}

/** Refuses a key that sets an object's prototype in some parsers: they would read other fields than we do. */
function checkKeys(value, path, depth = 0) {
  if (typeof value !== "object" || value === null) return;
  if (depth > 100) refuse(`${shown(path)} is nested too deeply`, "simplify it");
  for (const [key, inner] of Object.entries(value)) {
    if (key === "__proto__") refuse(`${shown(path)} has a field \`__proto__\``, "remove it");
    checkKeys(inner, path, depth + 1);
  }
}

/** Returns the path of the config that wrangler deploys. */
function configPath() {
  if (!request.redirected) return request.config;
  const file = join(request.project, REDIRECT);
  const target = field(readRedirect(), "configPath");
  if (typeof target !== "string") refuse(`${shown(file)}: \`configPath\` names no file`, `remove \`${REDIRECT}\` and build again`);
  return resolve(dirname(file), target);
}

/** Returns the fields of the config for the environment, and refuses those that we do not know. */
function effective(written, path, isGenerated) {
  const needsName = !isGenerated && !Object.hasOwn(written, "name") && typeof request.name === "string";
  const config = needsName ? { ...written, name: request.name } : written;
  const environments = Object.keys(field(config, "env") ?? {});
  if (isGenerated && environments.length > 0) refuse(`${shown(path)}: wrangler refuses the config that the build wrote, because it has \`env\``, ENV_HINT);
  const block = request.environment === null ? undefined : field(field(config, "env"), request.environment);
  const known = [...LEFT_OUT, ...(isGenerated ? OF_ADAPTERS : []), ...(block === undefined ? [] : REPEATED)];
  const out = {};
  const take = (from, place, fields) => {
    for (const [name, value] of Object.entries(from)) {
      if (Object.hasOwn(IMPOSSIBLE, name)) {
        const [reason, cure] = IMPOSSIBLE[name];
        if (!isEmpty(value)) refuse(`${shown(path)}: \`${place}${name}\` cannot be deployed: ${reason}`, cure);
      } else if (fields.includes(name)) {
        out[name] = value;
      } else if (!known.includes(name)) {
        refuse(`${shown(path)}: \`${place}${name}\` is not a field that can be deployed in two steps`, "remove it, or upgrade this tool");
      }
    }
  };
  take(config, "", block === undefined ? [...INHERITED, ...REPEATED, ...TOP_LEVEL] : [...INHERITED, ...TOP_LEVEL]);
  if (block !== undefined) {
    if (Object.hasOwn(block, "route") || Object.hasOwn(block, "routes")) {
      delete out.route;
      delete out.routes;
    }
    if (!Object.hasOwn(block, "name")) out.name = `${config.name}-${request.environment}`;
    // The fields that a repository may not choose for one environment are wrangler's to refuse, in the first step.
    take(block, `env.${request.environment}.`, [...INHERITED, ...REPEATED]);
  }
  const account = field(block, "account_id") ?? field(config, "account_id");
  if (typeof account === "string" && request.account !== null && account !== "" && account.toLowerCase() !== request.account.toLowerCase()) {
    refuse(`${shown(path)}: \`account_id\` is ${account}, but the account is ${request.account}`, "remove it: the shared config file decides");
  }
  out.topLevelName = isGenerated ? field(config, "topLevelName") : config.name;
  out.definedEnvironments = isGenerated ? field(config, "definedEnvironments") : environments;
  const target = isGenerated ? field(config, "targetEnvironment") : block && request.environment;
  if (target) out.targetEnvironment = target;
  return out;
}

/** Returns the patterns of a config's routes and custom domains, each as one text for one meaning. */
function patterns(config) {
  const routes = [...(Array.isArray(config.routes) ? config.routes : []), config.route ?? []].flat();
  return routes.map((route) => {
    const pattern = String(field(route, "pattern") ?? route).toLowerCase().replace(/^https?:\/\//, "");
    const [host, ...rest] = pattern.split("/");
    return `${host.replace(/:\d+$/, "").replace(/\.$/, "")}${field(route, "custom_domain") === true ? "" : `/${rest.join("/")}`}`;
  });
}

/** Refuses a generated config that is about another Worker than the project's config, or takes more visitors. */
function checkGenerated(generated, path) {
  const written = parse(request.config);
  const own = effective(written, request.config, false);
  const hint = "change the wrangler config of the project, and let the adapter take it over; or remove `.wrangler/deploy`";
  const at = `${shown(path)}, which the build wrote,`;
  if (generated.name !== own.name) refuse(`${at} deploys the Worker \`${generated.name}\`, and the project's config \`${own.name}\``, hint);
  const allowed = patterns(own);
  const added = patterns(generated).find((pattern) => !allowed.includes(pattern));
  if (added !== undefined) refuse(`${at} adds the route \`${added}\`, which the project's config does not have`, hint);
}

const isEmpty = (value) => value === undefined || value === null || (typeof value === "object" && Object.keys(value).length === 0);

/** Checks the fields that can name a program or a file. */
function checkParts(config, path, place = "") {
  const at = (name) => `${shown(path)}: \`${place}${name}\``;
  for (const container of Array.isArray(config.containers) ? config.containers : []) {
    const named = [field(container, "image"), ...Object.values(field(container, "images") ?? {})].filter((image) => image !== undefined);
    const images = named.map((image) => (isObject(image) && field(image, "dockerfile") === undefined ? field(image, "image") : image));
    // A registry's host has a dot or a port, and an image a tag or a digest.
    const isReference = (image) => typeof image === "string" && /^[\w-]+(\.[\w-]+)+(:\d+)?\/[\w./-]+(:[\w.-]+|@sha256:[0-9a-f]{64})$/.test(image);
    if (images.some((image) => !isReference(image))) {
      refuse(`${at("containers")} would build an image in the process that has the token`, "push the image first (`wrangler containers build --push`), and name it with its registry and tag");
    }
    delete container.image_build_context;
    delete container.image_vars;
  }
  if (isObject(config.unsafe)) {
    if (!isEmpty(config.unsafe.capnp)) refuse(`${at("unsafe.capnp")} would run a compiler in the process that has the token`, "remove it");
    const bindings = Array.isArray(config.unsafe.bindings) ? config.unsafe.bindings : [];
    config.unsafe = pick(config.unsafe, ["bindings", "metadata"]);
    if (bindings.length > 0) config.unsafe.bindings = bindings.map(({ dev: _dev, ...binding }) => binding);
  }
  if (isObject(config.previews)) {
    const { define: _define, ...previews } = config.previews;
    const unknown = Object.keys(previews).find((name) => !PREVIEWS.includes(name));
    if (unknown !== undefined) refuse(`${at(`previews.${unknown}`)} is not a field that can be deployed in two steps`, "remove it, or upgrade this tool");
    checkParts(previews, path, "previews.");
    config.previews = previews;
  }
}

/** Returns the modules that the first step left: main module first, with the types that wrangler sends. */
function readBundle(path) {
  // The folder is ours, but project code ran after it was made.
  const bytes = readRegular(path, path, LARGEST_BUNDLE);
  const end = bytes.indexOf("\r\n");
  const boundary = bytes.subarray(0, end);
  if (end < 3 || !boundary.toString("latin1").startsWith("--")) refuse("the first step left no bundle", "read its output, then run this again");
  let metadata;
  const modules = [];
  for (let start = end + 2; start < bytes.length; ) {
    const head = bytes.indexOf("\r\n\r\n", start);
    const stop = bytes.indexOf(Buffer.concat([Buffer.from("\r\n"), boundary]), head + 2);
    if (head < 0 || stop < 0) refuse("the bundle of the first step is damaged", "run this again");
    const headers = bytes.subarray(start, head).toString("utf8");
    const content = bytes.subarray(head + 4, stop);
    const name = /^content-disposition:[^\r\n]*;\s*name="([^"\r\n]*)"/im.exec(headers)?.[1] ?? "";
    const type = (/^content-type:\s*([^;\r\n]*)/im.exec(headers)?.[1] ?? "").trim();
    if (name === "metadata" && metadata === undefined) metadata = JSON.parse(content.toString("utf8"));
    else modules.push({ name: moduleName(name), type, content });
    const next = stop + 2 + boundary.length;
    if (bytes.subarray(next, next + 2).toString("latin1") === "--") break;
    start = next + 2;
  }
  const main = moduleName(field(metadata, "main_module") ?? field(metadata, "body_part") ?? "");
  return { main, modules };
}

/** Checks the name of a module, which becomes the name of a file and a pattern of wrangler's. */
function moduleName(name) {
  const path = posix.normalize(name);
  if (name === "" || posix.isAbsolute(path) || path.startsWith("..") || path.endsWith("/") || /[*\\\u0000-\u001f\u007f]|%(22|0A|0D)/.test(name)) {
    refuse(`the module \`${name}\` cannot be uploaded: its name leads out of the bundle or has a special character`, "rename the file, or remove `preserve_file_names`");
  }
  return path;
}

/** Lets the last comment of a module name no other source map than the one that the first step left. */
function withOwnSourceMap(name, content, maps) {
  const text = content.toString("utf8");
  const lines = text.split("\n");
  for (let index = lines.length - 1; index >= 0; index -= 1) {
    const line = lines[index].replace(/^[^\x21-\x7e]+/, "").trimEnd();
    if (line === "") continue;
    if (line.startsWith("//# sourceMappingURL=")) {
      const own = `//# sourceMappingURL=${basename(name)}.map`;
      const wanted = maps.has(`${name}.map`) ? own : "";
      if (lines[index] === wanted) return content;
      lines[index] = wanted;
      if (wanted !== "") return Buffer.from(lines.join("\n"));
      continue;
    }
    if (!line.startsWith("//#") && !line.startsWith("//@")) break;
  }
  const changed = lines.join("\n");
  return changed === text ? content : Buffer.from(changed);
}

/** Writes the modules, and returns the fields of the config that say how to read them. */
function writeModules({ main, modules }) {
  const folder = join(request.upload, "src");
  const maps = new Set(modules.filter(({ type }) => type === "application/source-map").map(({ name }) => name));
  const globs = Object.fromEntries(["ESModule", "CommonJS", "CompiledWasm", "Text", "Data"].map((type) => [type, []]));
  const python = main.endsWith(".py");
  for (const { name, type, content } of modules) {
    const rule = RULES[type];
    if (rule === undefined && type !== "application/source-map") {
      refuse(`the module \`${name}\` has the type \`${type}\`, which cannot be uploaded in two steps`, "import it as another type, by `rules`");
    }
    // Wrangler reads the installed packages of a Python Worker from the folder of its config.
    const vendored = python && name.startsWith("python_modules/");
    const isScript = rule === "ESModule" || rule === "CommonJS";
    const bytes = isScript ? withOwnSourceMap(name, content, maps) : content;
    checkToken(bytes, `the module \`${name}\``);
    const file = vendored ? join(request.upload, name) : join(folder, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes, { flag: "wx" });
    if (name !== main && !vendored && rule !== undefined && rule !== "PythonModule") globs[rule].push(name);
  }
  const rules = Object.entries(globs).map(([type, names]) => ({ type, globs: names, fallthrough: false }));
  return {
    main: `src/${main}`,
    base_dir: "src",
    no_bundle: true,
    find_additional_modules: true,
    rules,
    ...(python && { python_modules: { exclude: [] } }),
  };
}

/**
 * Returns the absolute path of a folder that is published, after a look at every file in it. Only the folder of a site
 * that is rendered on request may be empty: an adapter wrote its config, or its code is in the same output.
 */
function publishedFolder(directory, configFile, name, largest, mayBeEmpty = false) {
  const folder = resolve(dirname(configFile), directory);
  const target = real(folder);
  const at = `${shown(configFile)}: \`${name}\``;
  if (isInside(request.root, folder) && !isInside(real(request.root), target)) {
    refuse(`${shown(folder)} leads out of the repository, to ${target}`, "put a copy of it there, or remove the symbolic link");
  }
  if (!isInside(real(request.root), target)) refuse(`${at} is outside of the repository`, "write the output into the project's folder");
  const hasIgnoreFile = lstatSync(join(target, ".assetsignore"), { throwIfNoEntry: false }) !== undefined;
  if (isInside(target, real(request.project)) && !hasIgnoreFile) refuse(`${at} contains the project, so its sources would be published`, "write the output into a folder such as `dist`, or add an `.assetsignore` with the files that are not public");
  const isIgnored = ignore(join(target, ".assetsignore"));
  const root = real(request.root);
  let published = 0;
  const walk = (path) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const file = join(path, entry.name);
      const inner = relative(target, file);
      if (entry.isDirectory()) {
        walk(file);
        continue;
      }
      const isSetting = SETTINGS.includes(inner);
      const ignored = !isSetting && isIgnored(inner);
      if (ignored === true) continue;
      if (inner.split("/")[0] === "_worker.js" && ignored !== false) {
        refuse(`${shown(file)} is the code of a Pages project, and would be published as a file`, "name the code as `main` in the wrangler config, and add a line `_worker.js` to .assetsignore in that folder; or `!_worker.js` if the file is meant to be public");
      }
      let place = file;
      if (entry.isSymbolicLink()) {
        place = real(file);
        if (!isInside(root, place)) refuse(`${shown(file)} leads out of the repository, to ${place}`, "put a copy of it there, or remove the symbolic link");
        // Wrangler publishes no folder that a link leads to.
        if (statSync(place).isDirectory()) continue;
        checkPrivate(relative(root, place), file, ignored);
      }
      checkPrivate(inner, file, ignored);
      checkToken(readRegular(place, file, largest), shown(file));
      if (!isSetting) published += 1;
    }
  };
  walk(target);
  if (published === 0 && !mayBeEmpty) refuse(`${shown(folder)} is empty, so an empty site would be published`, "the build has to write the site there");
  return target;
}

function checkPrivate(path, file, ignored) {
  const name = path.split("/").find((part) => PRIVATE.some((pattern) => pattern.test(part)));
  // A line that begins with `!` says that the file is meant.
  if (name !== undefined && ignored !== false) {
    refuse(`${shown(file)} looks private (\`${name}\`), and would be published`, `add a line \`${name}\` to .assetsignore in that folder, or \`!${name}\` if it is meant to be public`);
  }
}

/** The most lines that are named. */
const MOST_NAMED = 10;

/** Prints the lines of `_redirects` and `_headers` that Cloudflare drops without a word, in the folder of the assets. */
function warnOfDroppedRules(folder, assets) {
  const found = [];
  for (const name of ["_redirects", "_headers"]) {
    const file = join(folder, name);
    if (lstatSync(file, { throwIfNoEntry: false }) === undefined) continue;
    const text = read(file, LARGEST_ASSET).toString("utf8");
    const drop = (number, reason) => found.push(`${shown(file)}:${number}: Cloudflare drops this line: ${reason}`);
    if (name === "_headers") droppedHeaders(text, drop);
    else droppedRedirects(text, assets.html_handling, drop);
  }
  for (const warning of found.slice(0, MOST_NAMED)) console.error(`warning: ${printable(warning)}`);
  if (found.length > MOST_NAMED) console.error(`warning: Cloudflare drops ${found.length - MOST_NAMED} more lines of these files`);
}

/** Returns a text as one line without control characters. */
const printable = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ");

/** Returns a function that matches a path with `.assetsignore`, which has the syntax of `.gitignore`: `true` for an ignored path, `false` for one that a line with `!` includes, else `undefined`. */
function ignore(path) {
  let text = "";
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) text = read(path, 1 << 20).toString("utf8");
  const lines = text.split(/\r?\n/).map((line) => line.replace(/^\uFEFF/, "").replace(/(?<!\\)\s+$/, ""));
  const rules = lines.filter((line) => line !== "" && !line.startsWith("#")).map((line) => {
    const negated = line.startsWith("!");
    const pattern = negated ? line.slice(1) : line;
    const folder = pattern.endsWith("/");
    const bare = pattern.replace(/\/+$/, "");
    const anchored = bare.includes("/");
    return { negated, folder, pattern: new RegExp(`^${anchored ? "" : "(?:.*/)?"}${globText(bare.replace(/^\//, ""))}$`, "i") };
  });
  const decide = (path, isFolder, before) => rules.reduce((state, rule) => (!(rule.folder && !isFolder) && rule.pattern.test(path) ? !rule.negated : state), before);
  return (path) => {
    const parts = path.split("/");
    let state;
    for (let index = 1; index <= parts.length; index += 1) {
      state = decide(parts.slice(0, index).join("/"), index < parts.length, index === 1 ? undefined : state);
      // Nothing in an ignored folder can be included again.
      if (state === true) return true;
    }
    return state;
  };
}

/** Returns a glob of `.gitignore` as the text of a regular expression. */
function globText(glob) {
  return glob.replace(/\*\*\/|\/\*\*$|\*+|\?|\[(!?)((?:\\.|[^\]\\])+)\]|\\(.)|[.+^${}()|[\]\\/]/g, (match, not, set, escaped) => {
    if (match === "**/") return "(?:.*/)?";
    if (match === "/**") return "/.*";
    if (match.startsWith("*")) return "[^/]*";
    if (match === "?") return "[^/]";
    if (set !== undefined) return `[${not ? "^" : ""}${set.replace(/[\[\]]/g, "\\$&")}]`;
    return `\\${escaped ?? match}`;
  });
}

/** Returns the encodings of the token in text and bytes. */
function forms(token) {
  if (token.length < 4) return [];
  const bytes = Buffer.from(token);
  const json = JSON.stringify(token).slice(1, -1);
  const html = (quote) => token.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", quote);
  const percent = (keep) => Array.from(bytes, (byte) => (keep.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, "0").toUpperCase()}`)).join("");
  const texts = [token, json, json.replaceAll("/", "\\/"), html("&#39;"), html("&#x27;"), html("&apos;")];
  texts.push(json.replace(/[<>&']/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`));
  for (const keep of [/[\w.~-]/, /[\w.!~*'()-]/, /[\w;,/?:@&=+$.!~*'()#-]/, /[\w*.-]/]) texts.push(percent(keep), percent(keep).replace(/%../g, (code) => code.toLowerCase()));
  for (const offset of [0, 1, 2]) {
    // The digits that depend only on the token, with `offset` bytes before it.
    const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString("base64").replace(/=+$/, "");
    const digits = text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
    texts.push(digits, digits.replaceAll("+", "-").replaceAll("/", "_"));
  }
  texts.push(bytes.toString("hex"), bytes.toString("hex").toUpperCase(), [...bytes].join(","), [...bytes].join(", "));
  texts.push([...token].map((c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`).join(""), [...token].reverse().join(""));
  const wide = Buffer.from(token, "utf16le");
  return [...new Set(texts)].filter((text) => text.length >= 4).map((text) => Buffer.from(text)).concat([wide, Buffer.from(wide).swap16()]);
}

const tokenForms = forms((process.env.CLOUDFLARE_API_TOKEN ?? "").trim());

function checkToken(bytes, what) {
  if (tokenForms.some((form) => bytes.includes(form))) {
    refuse(`${what} holds the API token, and would be published`, "revoke the token now, because code of the project could read it; then find the code that did");
  }
}

/** Refuses a file that leads out of the repository, at `path` or in the folder there. A step reads it with the token. */
function checkRead(path, isTop = true) {
  const target = real(path);
  if (!isInside(real(request.root), target)) refuse(`${shown(path)} leads out of the repository, to ${target}, and a step of \`beforeDeploy\` would read it`, "put a copy of it into the repository");
  const stat = statSync(target);
  if (stat.isDirectory()) {
    // A link in a linked folder may lead back.
    if (isTop || !lstatSync(path).isSymbolicLink()) for (const name of readdirSync(path)) checkRead(join(path, name), false);
  } else if (!stat.isFile()) {
    refuse(`${shown(path)} is not a regular file, and a step of \`beforeDeploy\` would read it`, "replace it by a regular file");
  }
}

function prepare() {
  const path = configPath();
  const config = parse(path);
  checkKeys(config, path);
  const out = effective(config, path, request.redirected);
  for (const file of request.reads ?? []) if (lstatSync(file, { throwIfNoEntry: false }) !== undefined) checkRead(file);
  if (request.redirected) {
    checkGenerated(out, path);
    warnOfAuxiliaryWorkers();
  }
  checkParts(out, path);
  const { main } = out;
  const output = (name) => posix.normalize(name).split("/")[0];
  const isBeside = (directory) => typeof main === "string" && output(main) === output(directory);
  rmSync(request.upload, { recursive: true, force: true });
  mkdirSync(join(request.upload, dirname(REDIRECT)), { recursive: true });
  if (out.main !== undefined) {
    if (request.bundle === null) refuse(`${shown(path)} has \`main\`, but nothing was bundled`, "run the build again: it changed the config");
    Object.assign(out, writeModules(readBundle(request.bundle)));
  }
  const assets = field(out, "assets");
  if (isObject(assets)) {
    const unknown = Object.keys(assets).find((name) => !ASSETS.includes(name));
    if (unknown !== undefined) refuse(`${shown(path)}: \`assets.${unknown}\` is not a field that can be deployed in two steps`, "remove it, or upgrade this tool");
    out.assets = pick(assets, ASSETS);
    if (typeof assets.directory === "string") out.assets.directory = publishedFolder(assets.directory, path, "assets.directory", LARGEST_ASSET, (request.redirected && main !== undefined) || isBeside(assets.directory));
    if (typeof assets.directory === "string") warnOfDroppedRules(out.assets.directory, assets);
  }
  if (isObject(out.site)) {
    const { bucket } = out.site;
    if (typeof bucket !== "string") refuse(`${shown(path)}: \`site.bucket\` is missing`, "name the folder of the site");
    // wrangler appends it to the folder of its config, even if it is absolute.
    const folder = publishedFolder(bucket, path, "site.bucket", LARGEST_ASSET);
    out.site = { ...pick(out.site, ["include", "exclude"]), bucket: relative(request.upload, folder) };
  }
  // The names and versions of the project's packages are not next to this config.
  out.dependencies_instrumentation = { enabled: false };
  const text = JSON.stringify(out, null, 2);
  checkToken(Buffer.from(text), shown(path));
  writeFileSync(join(request.upload, "config.json"), `${text}\n`);
  // Wrangler searches parent folders for the user's config, and reports one in another folder.
  writeFileSync(join(request.upload, "wrangler.json"), "{}\n");
  // As a generated config, it can name its Worker and environment.
  writeFileSync(join(request.upload, REDIRECT), '{ "configPath": "../../config.json" }\n');
}

/** The error codes of a full disk. */
const FULL = ["EDQUOT", "EFBIG", "ENOSPC", "EROFS"];

const request = JSON.parse(process.argv.at(-1));
for (const name of ["root", "project", "config", "upload"]) {
  if (!isAbsolute(request[name])) throw new Error(`\`${name}\` has to be absolute`);
}
request.redirected ??= lstatSync(join(request.project, REDIRECT), { throwIfNoEntry: false }) !== undefined;
try {
  prepare();
} catch (thrown) {
  let error = thrown;
  if (FULL.includes(error.code)) error = new Refusal(`cannot write ${error.path ?? request.upload}: ${error.message}`, "check for free disk space and for write permission on the folder");
  if (!(error instanceof Refusal)) throw error;
  console.error(`refused: ${printable(error.message)}\nhint: ${printable(error.hint)}`);
  process.exitCode = 3;
}
