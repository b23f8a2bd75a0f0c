/** The maximum length of wrangler's output in a record. */
const LINES = 80;
const CHARACTERS = 12_000;

/** Colours and cursor movements. Wrangler prints them without a terminal too. */
const ESCAPES = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;

/** Short-lived upload tokens and bearer headers. The API token itself is replaced by the engine. */
const SECRETS = /\beyJ[\w-]+\.[\w-]+\.[\w-]*|\b(?<=[Bb]earer )[\w.~+/=-]+/g;

/** Returns the last lines of a run's output as plain text, to show the reason of a failure. */
export function tail(...outputs: readonly string[]): string {
  const lines = outputs
    .join("\n")
    .replace(ESCAPES, "")
    .replace(SECRETS, "***")
    .split(/\r\n|\r|\n/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== "");
  return lines.slice(-LINES).join("\n").slice(-CHARACTERS);
}
