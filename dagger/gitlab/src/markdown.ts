/**
 * Returns Markdown in which no line starts a quick action.
 *
 * GitLab executes lines of a note that start with a slash (`/merge`, `/close`) with the rights of the token that wrote
 * them, in new and in edited notes. It drops carriage returns first
 * (https://docs.gitlab.com/user/project/quick_actions/). A backslash before the slash does not change the rendered text.
 */
export function withoutQuickActions(markdown: string): string {
  return markdown.replace(/\r\n?/g, "\n").replace(/^([^\S\n]*)\//gm, "$1\\/");
}

/** Returns the line of the comment that identifies it. GitLab does not render it. */
export function markerLine(marker: string): string {
  if (!/^[\w ./:@-]{1,100}$/.test(marker) || marker.includes("--") || marker.trim() !== marker) {
    throw new Error(
      `\`${marker}\` is not a marker: 1 to 100 letters, digits, spaces and . / : @ _ -, without two dashes together`,
    );
  }
  return `<!-- ${marker} -->`;
}
