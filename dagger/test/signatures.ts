// Prints the functions of every module as JSON, by the module's folder: what a caller may pass, by position and by name.
import { functions, modules } from "./modules.js";

const found = modules().map((module) => [module.dir, { name: module.manifest.name, functions: functions(module) }]);
process.stdout.write(`${JSON.stringify(Object.fromEntries(found), null, 2)}\n`);
