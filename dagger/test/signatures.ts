// Prints the objects of every module as JSON, by the module's folder, with the required and the optional arguments.
import { modules, objects } from "./modules.js";

const found = modules().map((module) => [module.dir, objects(module)]);
process.stdout.write(`${JSON.stringify(Object.fromEntries(found), null, 2)}\n`);
