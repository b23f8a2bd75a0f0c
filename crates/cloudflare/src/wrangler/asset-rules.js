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

