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
