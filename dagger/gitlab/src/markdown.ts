/**
 * Returns Markdown in which no line starts a quick action.
 *
 * GitLab carries out lines of a note that start with a slash (`/merge`, `/close`) with the rights of the token that wrote
 * them, in a new note and in an edited one, and drops carriage returns before it looks
 * (https://docs.gitlab.com/user/project/quick_actions/). A backslash before the slash leaves the text as it reads.
 */
export function withoutQuickActions(markdown: string): string {
  return markdown.replace(/\r\n?/g, "\n").replace(/^([^\S\n]*)\//gm, "$1\\/");
}

/** Returns the line of the comment that identifies it. GitLab does not render it. */
export function markerLine(marker: string): string {
  if (!/^[\w ./:@-]{1,100}$/.test(marker) || marker.includes("--") || marker.trim() !== marker) {
    throw new Error(
      `\`${marker}\` is no marker: 1 to 100 letters, digits, spaces and . / : @ _ -, without two dashes together`,
    );
  }
  return `<!-- ${marker} -->`;
}
