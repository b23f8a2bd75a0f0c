/**
 * Builds rawkode.academy
 */
import { argument, dag, func, object, type Directory } from "@dagger.io/dagger";

/** Paths that are not part of the sources: the module itself, and what a build leaves. */
const IGNORED = [
  "dist",
  ".dagger",
  "dagger.json",
  ".astro",
  "**/node_modules",
  "**/.env",
  "**/.env.*",
  "**/.dev.vars*",
  "**/.wrangler",
  "**/.xtask",
];

@object()
export class Website {
  /**
   * Builds the site and returns the folder that is deployed
   *
   * Astro runs on Bun, in the version of the shared configuration. D2 draws the diagrams from its WebAssembly package,
   * which `bun.lock` pins, so nothing beyond the lock file has to be installed.
   *
   * @param source The site's folder
   */
  @func()
  build(@argument({ defaultPath: ".", ignore: IGNORED }) source: Directory): Directory {
    return dag.bun().build(source);
  }
}
