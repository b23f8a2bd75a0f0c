// `@dagger.io/dagger` as inside the engine: the parts of the npm package that the engine's bundle has, with the
// clients of local dependencies that its code generator adds. `ExecError` is not among them.
import { Client, dag as core } from "../node_modules/@dagger.io/dagger/dist/src/api/client.gen.js";
import { Context } from "../node_modules/@dagger.io/dagger/dist/src/common/context.js";
import { Bun, Config, Gitlab } from "./dependencies.js";

export * from "../node_modules/@dagger.io/dagger/dist/src/api/client.gen.js";
export { Context } from "../node_modules/@dagger.io/dagger/dist/src/common/context.js";
export { connect, connection } from "../node_modules/@dagger.io/dagger/dist/src/connect.js";
export {
  argument,
  check,
  enumType,
  field,
  func,
  generate,
  object,
} from "../node_modules/@dagger.io/dagger/dist/src/module/decorators.js";
export * from "./dependencies.js";

/** The client with one function a dependency, as the code generator makes it. */
export interface GeneratedClient extends Client {
  bun(): Bun;
  config(): Config;
  gitlab(): Gitlab;
}

export const dag: GeneratedClient = Object.assign(core, {
  bun: () => new Bun(new Context().select("bun")),
  config: () => new Config(new Context().select("config")),
  gitlab: () => new Gitlab(new Context().select("gitlab")),
});
