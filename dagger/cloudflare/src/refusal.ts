/** The exit code of `prepare-upload.js` after a refusal. */
export const REFUSAL_EXIT_CODE = 3;

/** Returns the warnings in the program's output. */
export function parseWarnings(text: string): string[] {
  const prefix = "warning: ";
  return text.split("\n").filter((line) => line.startsWith(prefix)).map((line) => line.slice(prefix.length));
}

/** Returns the refusal at the end of the program's output. */
export function parseRefusal(text: string): string | undefined {
  const line = (prefix: string) => text.split("\n").findLast((line) => line.startsWith(prefix))?.slice(prefix.length);
  const [reason, hint] = [line("refused: "), line("hint: ")];
  return reason === undefined || hint === undefined ? reason : `${reason}: ${hint}`;
}
