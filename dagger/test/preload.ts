// Loads the modules' sources as the engine does: with TypeScript's own decorators, and with the generated client in place
// of `@dagger.io/dagger`.
import { plugin } from "bun";
import ts from "typescript";

const client = `${import.meta.dir}/stubs/dagger.ts`;

plugin({
  name: "dagger modules",
  setup(build) {
    build.onResolve({ filter: /^@dagger\.io\/dagger$/ }, () => ({ path: client }));
    build.onLoad({ filter: /\/(?:dagger\/[a-z]+|\.dagger)\/src\/.*\.ts$/ }, async ({ path }) => {
      const compilerOptions: ts.CompilerOptions = {
        experimentalDecorators: true,
        module: ts.ModuleKind.ESNext,
        target: ts.ScriptTarget.ES2022,
        verbatimModuleSyntax: false,
      };
      const { outputText } = ts.transpileModule(await Bun.file(path).text(), { compilerOptions, fileName: path });
      return { contents: outputText, loader: "js" };
    });
  },
});
