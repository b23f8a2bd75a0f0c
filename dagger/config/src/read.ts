/** The contents of `config.json`. `cargo xtask` reads and checks the same file. */
export interface ConfigFile {
  cloudflare: CloudflareAccount;
  gitlab: { url: string; projectId: string; tokenVariable: string };
  environments: Record<string, { protected?: boolean; cloudflare?: Partial<CloudflareAccount> | null }>;
  tools: Record<string, string>;
  images: Record<string, string>;
}

/** A Cloudflare account, and the variable that holds its token. */
export interface CloudflareAccount {
  accountId: string;
  tokenVariable: string;
}

/** The environment of the sandbox. It is always there and has the shared account. */
export const LOCAL = "local";

/**
 * Parses the file's text.
 *
 * @throws When it is no JSON, or lacks one of its sections.
 */
export function parse(text: string): ConfigFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`config.json: ${error instanceof Error ? error.message : String(error)}`);
  }
  const sections = ["cloudflare", "gitlab", "environments", "tools", "images"];
  const found = typeof value === "object" && value !== null ? value : {};
  const missing = sections.filter((section) => !(section in found));
  if (missing.length > 0) throw new Error(`config.json: ${missing.map((name) => `\`${name}\``).join(", ")} missing`);
  return value as ConfigFile;
}

/**
 * The account of `environment`, or the shared one when no environment is named.
 *
 * @throws When the environment is unknown, so that a misspelt one cannot mean the shared account.
 */
export function cloudflare(config: ConfigFile, environment?: string): CloudflareAccount {
  if (environment === undefined || environment === "" || environment === LOCAL) return config.cloudflare;
  const own = Object.hasOwn(config.environments, environment) ? config.environments[environment] : undefined;
  if (own === undefined) {
    const known = [LOCAL, ...Object.keys(config.environments)].join(", ");
    throw new Error(`unknown environment \`${environment}\`; config.json has: ${known}`);
  }
  return {
    accountId: own.cloudflare?.accountId ?? config.cloudflare.accountId,
    tokenVariable: own.cloudflare?.tokenVariable ?? config.cloudflare.tokenVariable,
  };
}

/**
 * One entry of a section such as `images`.
 *
 * @throws When it is not there.
 */
export function entry(section: Record<string, string>, where: string, name: string): string {
  const value = Object.hasOwn(section, name) ? section[name] : undefined;
  if (value === undefined) {
    throw new Error(`config.json: no \`${where}.${name}\`; there is: ${Object.keys(section).join(", ")}`);
  }
  return value;
}
