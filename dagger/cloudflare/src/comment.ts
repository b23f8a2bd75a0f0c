import type { DeploymentRecord } from "./record.js";

/** The maximum length of external text in a cell. */
const MAX_TEXT = 200;

/** Returns the comment of a preview in GitLab's Markdown. */
export function comment(record: DeploymentRecord): string {
  const name = code(record.project ?? record.workerName ?? "preview");
  const rows: [string, string][] = [];
  if (record.aliasUrl !== undefined) rows.push(["Preview", link(record.aliasUrl)]);
  if (record.previewUrl !== undefined) rows.push(["This version", link(record.previewUrl)]);
  if (record.versionId !== null) rows.push(["Version", code(record.versionId)]);
  else if (record.deploymentId !== undefined) rows.push(["Deployment", code(record.deploymentId)]);
  if (record.tag !== "") rows.push(["Tag", code(record.tag)]);
  if (record.message !== "") rows.push(["Message", code(record.message)]);
  if (record.error !== undefined) rows.push(["Reason", code(record.error)]);
  const status = record.error === undefined ? "is ready" : "failed";
  const table = rows.map(([label, value]) => `| ${label} | ${value} |`);
  return [`### Preview of ${name} ${status}`, "", "| | |", "| --- | --- |", ...table, ""].join("\n");
}

/** Returns a text as inline code, which cannot leave its cell and contains no mentions, links or commands. */
export function code(text: string): string {
  const line = text.replace(/[\s\p{Cc}\p{Cf}]+/gu, " ").trim();
  const short = line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT)}…` : line;
  if (short === "") return "–";
  const longest = Math.max(0, ...(short.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  const pad = longest > 0 ? " " : "";
  return `${fence}${pad}${short.replaceAll("|", "\\|")}${pad}${fence}`;
}

/** Returns a link to a URL. A text that is not a URL is returned as inline code. */
function link(address: string): string {
  return /^https?:\/\/[\w.:/~%-]+$/.test(address) ? `<${address}>` : code(address);
}
