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

/** The environment of the sandbox. It always exists and has the shared account. */
export const LOCAL = "local";

/**
 * Parses the file's text.
 *
 * @throws If it is not JSON or lacks a section.
 */
export function parse(text: string): ConfigFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`config.json: ${error instanceof Error ? error.message : String(error)}`);
  }
  const sections = ["cloudflare", "gitlab", "environments", "tools", "images"];
  const fields = typeof value === "object" && value !== null ? value : {};
  const missing = sections.filter((section) => !(section in fields));
  if (missing.length > 0) throw new Error(`config.json: ${missing.map((name) => `\`${name}\``).join(", ")} missing`);
  return value as ConfigFile;
}

/**
 * Returns the account of `environment`, or the shared account without an environment.
 *
 * @throws If the environment is unknown, so that a misspelt one does not select the shared account.
 */
export function cloudflare(config: ConfigFile, environment?: string): CloudflareAccount {
  if (environment === undefined || environment === "" || environment === LOCAL) return config.cloudflare;
  const settings = Object.hasOwn(config.environments, environment) ? config.environments[environment] : undefined;
  if (settings === undefined) {
    const known = [LOCAL, ...Object.keys(config.environments)].join(", ");
    throw new Error(`unknown environment \`${environment}\`; config.json has: ${known}`);
  }
  return {
    accountId: settings.cloudflare?.accountId ?? config.cloudflare.accountId,
    tokenVariable: settings.cloudflare?.tokenVariable ?? config.cloudflare.tokenVariable,
  };
}

/**
 * Returns an entry of a section such as `images`.
 *
 * @throws If there is no such entry.
 */
export function entry(section: Record<string, string>, where: string, name: string): string {
  const value = Object.hasOwn(section, name) ? section[name] : undefined;
  if (value === undefined) {
    throw new Error(`config.json: no \`${where}.${name}\`; there is: ${Object.keys(section).join(", ")}`);
  }
  return value;
}
