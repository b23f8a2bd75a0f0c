/**
 * The account configuration that every project shares
 *
 * Ids and the names of variables, never a token. The values are in `config.json` next to this module.
 */
import { dag, func, object } from "@dagger.io/dagger";

import { cloudflare, entry, parse, type ConfigFile } from "./read.js";

async function file(): Promise<ConfigFile> {
  return parse(await dag.currentModule().source().file("config.json").contents());
}

@object()
export class Config {
  /**
   * The id of the Cloudflare account: 32 hexadecimal digits. It is not a secret
   *
   * @param environment The environment of the account. Without it, the shared account. An unknown environment is an
   * error
   */
  @func()
  async cloudflareAccountId(environment?: string): Promise<string> {
    return cloudflare(await file(), environment).accountId;
  }

  /**
   * The name of the variable that holds the Cloudflare token
   *
   * @param environment The environment of the token. Without it, the shared token. An unknown environment is an error
   */
  @func()
  async cloudflareTokenVariable(environment?: string): Promise<string> {
    return cloudflare(await file(), environment).tokenVariable;
  }

  /**
   * The numeric id of the GitLab project whose merge requests get comments. It is not a secret
   */
  @func()
  async gitlabProjectId(): Promise<string> {
    return (await file()).gitlab.projectId;
  }

  /**
   * The URL of the GitLab instance, with its relative root if it has one, without a trailing slash
   */
  @func()
  async gitlabUrl(): Promise<string> {
    return (await file()).gitlab.url.replace(/\/+$/, "");
  }

  /**
   * The reference of a container image, such as the one called `bun`
   *
   * @param name The image's name in the section `images`. An unknown one is an error
   */
  @func()
  async image(name: string): Promise<string> {
    return entry((await file()).images, "images", name);
  }

  /**
   * The pinned version of a tool that no package registry pins for us: `dagger` or `bun`
   *
   * @param name The tool's name in the section `tools`. An unknown one is an error
   */
  @func()
  async toolVersion(name: string): Promise<string> {
    return entry((await file()).tools, "tools", name);
  }
}
