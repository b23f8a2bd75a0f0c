/**
 * Installs and builds projects with Bun
 *
 * For every project without its own Dagger module. It needs no credential.
 */
import { argument, dag, func, object, type Container, type Directory } from "@dagger.io/dagger";

/** The project's path in the container. */
const WORK = "/src";

/** Paths that no container gets: files that are installed or generated again, git's data, and files with secrets. */
const IGNORED = ["**/node_modules", "**/.git", "**/.env", "**/.env.*", "**/.dev.vars*", "**/.wrangler", "**/.xtask"];

/** Bun's cache of downloaded packages, shared by all runs and projects. */
const CACHE = "/var/cache/bun";

@object()
export class Bun {
  /**
   * A container with Bun in the version of the shared configuration, and its package cache
   */
  @func()
  async withCache(): Promise<Container> {
    return dag
      .container()
      .from(await dag.config().image("bun"))
      .withMountedCache(CACHE, dag.cacheVolume("bun-install"))
      .withEnvVariable("BUN_INSTALL_CACHE_DIR", CACHE)
      .withWorkdir(WORK);
  }

  /**
   * The project with its locked dependencies, ready to run its scripts
   *
   * Installs exactly the versions of `bun.lock`. A lock file that does not match `package.json` is an error.
   *
   * @param source The folder with `package.json` and `bun.lock`
   */
  @func()
  async install(@argument({ ignore: IGNORED }) source: Directory): Promise<Container> {
    const container = await this.withCache();
    return container.withDirectory(WORK, source).withExec(["bun", "install", "--frozen-lockfile"]);
  }

  /**
   * Builds the project and returns the folder that the build wrote
   *
   * The script and its tools run on Bun, even if their shebangs name another runtime.
   *
   * @param source The folder with `package.json` and `bun.lock`
   * @param script The script of `package.json` that builds
   * @param dist The folder that the script writes, relative to `source`. Its earlier content is not part of the build
   * @param environment The wrangler environment, for frameworks that choose it at build time
   */
  @func()
  async build(
    @argument({ ignore: IGNORED }) source: Directory,
    script: string = "build",
    dist: string = "dist",
    environment?: string,
  ): Promise<Directory> {
    let container = await this.install(source.withoutDirectory(dist));
    container = container.withEnvVariable("ASTRO_TELEMETRY_DISABLED", "1");
    if (environment) container = container.withEnvVariable("CLOUDFLARE_ENV", environment);
    return container.withExec(["bun", "--bun", "run", script]).directory(`${WORK}/${dist}`);
  }
}
