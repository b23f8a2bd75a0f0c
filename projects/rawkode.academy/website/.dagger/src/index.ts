/**
 * Builds rawkode.academy
 */
import { argument, dag, func, object, type Directory } from "@dagger.io/dagger";

/** The site's folder in the container. */
const WORK = "/src";

/** Bun's cache of downloaded packages. */
const CACHE = "/var/cache/bun";

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
  async build(
    @argument({
      defaultPath: ".",
      ignore: [
        "**/node_modules",
        "dist",
        ".dagger",
        "dagger.json",
        ".astro",
        ".wrangler",
        ".xtask",
        "**/.env",
        "**/.env.*",
        "**/.dev.vars*",
      ],
    })
    source: Directory,
  ): Promise<Directory> {
    return dag
      .container()
      .from(await dag.config().image("bun"))
      .withMountedCache(CACHE, dag.cacheVolume("bun-install"))
      .withEnvVariable("BUN_INSTALL_CACHE_DIR", CACHE)
      .withEnvVariable("ASTRO_TELEMETRY_DISABLED", "1")
      .withWorkdir(WORK)
      .withDirectory(WORK, source)
      .withExec(["bun", "install", "--frozen-lockfile"])
      .withExec(["bun", "--bun", "run", "build"])
      .directory(`${WORK}/dist`);
  }
}
