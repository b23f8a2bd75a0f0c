// Clients of the local dependencies, shaped as Dagger's code generator shapes them: a class a module, required arguments in
// their order, optional ones in an object of the type `<Class><Function>Opts`. A test compares them with the modules.
import { Context } from "../node_modules/@dagger.io/dagger/dist/src/common/context.js";
import { Container, Directory, type File, type Secret, type Service } from "../node_modules/@dagger.io/dagger/dist/src/api/client.gen.js";

export type BunBuildOpts = { script?: string; dist?: string; environment?: string };

export class Bun {
  constructor(private readonly context: Context) {}

  withCache = (): Container => new Container(this.context.select("withCache"));

  install = (source: Directory): Container => new Container(this.context.select("install", { source }));

  build = (source: Directory, opts?: BunBuildOpts): Directory =>
    new Directory(this.context.select("build", { source, ...opts }));
}

export type ConfigCloudflareAccountIdOpts = { environment?: string };
export type ConfigCloudflareTokenVariableOpts = { environment?: string };

export class Config {
  constructor(private readonly context: Context) {}

  cloudflareAccountId = (opts?: ConfigCloudflareAccountIdOpts): Promise<string> =>
    this.context.select("cloudflareAccountId", { ...opts }).execute();

  cloudflareTokenVariable = (opts?: ConfigCloudflareTokenVariableOpts): Promise<string> =>
    this.context.select("cloudflareTokenVariable", { ...opts }).execute();

  gitlabProjectId = (): Promise<string> => this.context.select("gitlabProjectId").execute();

  gitlabUrl = (): Promise<string> => this.context.select("gitlabUrl").execute();

  image = (name: string): Promise<string> => this.context.select("image", { name }).execute();

  toolVersion = (name: string): Promise<string> => this.context.select("toolVersion", { name }).execute();
}

export type GitlabPostMergeRequestCommentOpts = {
  projectId?: string;
  apiUrl?: string;
  marker?: string;
  nonce?: string;
  api?: Service;
  caFile?: File;
  proxy?: Secret;
  noProxy?: string;
};

export class Gitlab {
  constructor(private readonly context: Context) {}

  postMergeRequestComment = (
    token: Secret,
    mergeRequestIid: string,
    body: string,
    opts?: GitlabPostMergeRequestCommentOpts,
  ): Promise<string> =>
    this.context.select("postMergeRequestComment", { token, mergeRequestIid, body, ...opts }).execute();
}
