import { call, describeError, nextPage, MAX_ATTEMPTS, type GitlabAccess, type GitlabResponse, type Platform } from "./api.js";
import { markerLine, withoutQuickActions } from "./markdown.js";

/** The target of the comment. */
export interface CommentTarget {
  /** The project's number, or its full path. */
  project: string;
  /** The merge request's number in its project. */
  mergeRequest: string;
  /** The marker that distinguishes this comment from others by the same author. */
  marker: string;
}

/** The action on the comment. */
export interface PostResult {
  action: "created" | "edited" | "unchanged";
  /** The note's id. */
  note: number;
  /** Ids of duplicates that were deleted. */
  removed: number[];
}

interface Note {
  id: number;
  body: string;
  system: boolean;
  author: { id: number };
}

/** The maximum length of a body (https://docs.gitlab.com/api/notes/). */
const MAX_BODY = 1_000_000;

/** The maximum number of pages, each with 100 comments. */
const PAGES = 1000;

/**
 * Writes the comment of a marker: creates it, or edits it in place.
 *
 * Our comments begin with the marker **and** are by the token's user, because anyone can paste a marker. The oldest one
 * is kept and the others are deleted, so that two concurrent jobs leave one comment. A comment that was deleted in the
 * meantime is created again, once.
 *
 * @param markdown The text. Lines that start with a slash are escaped, so that GitLab does not run them.
 * @throws If it cannot be written. The message never contains the token.
 */
export async function postComment(world: Platform, access: GitlabAccess, place: CommentTarget, markdown: string): Promise<PostResult> {
  const text = withoutQuickActions(markdown);
  if (text.trim() === "") throw new Error("the comment is empty");
  const body = `${markerLine(place.marker)}\n${text.trimEnd()}`;
  if (body.length > MAX_BODY) throw new Error(`the comment has ${body.length} characters; GitLab takes ${MAX_BODY}`);
  const notes = new Notes(world, access, place, await user(world, access));
  const [oldest, ...others] = await notes.ours();
  if (oldest !== undefined) {
    const action = await notes.edit(oldest, body);
    if (action !== undefined) return { action, note: oldest.id, removed: await notes.remove(others) };
  }
  const created = await notes.create(body);
  // Another job may have created a comment at the same time. Both jobs keep the older one.
  const [first, ...later] = await notes.ours();
  if (first === undefined || first.id === created || (await notes.edit(first, body)) === undefined) {
    return { action: "created", note: created, removed: await notes.remove(later) };
  }
  return { action: "edited", note: first.id, removed: await notes.remove(later) };
}

async function user(world: Platform, access: GitlabAccess): Promise<number> {
  const response = await call(world, access, "GET", "/user");
  const id = (response.body as { id?: unknown } | null)?.id;
  if (response.status !== 200 || typeof id !== "number") throw new Error(describeError(access, response));
  return id;
}

/** The comments of one merge request, as one user sees them. */
class Notes {
  readonly #path: string;
  readonly #marker: string;

  constructor(
    readonly world: Platform,
    readonly access: GitlabAccess,
    readonly place: CommentTarget,
    readonly author: number,
  ) {
    const project = encodeURIComponent(place.project);
    this.#path = `/projects/${project}/merge_requests/${encodeURIComponent(place.mergeRequest)}/notes`;
    this.#marker = markerLine(place.marker);
  }

  /**
   * Lists our comments, oldest first. A page may be short or empty although more pages follow, because GitLab leaves out
   * notes that the user may not read. Only the header names the last page.
   */
  async ours(): Promise<Note[]> {
    const found = new Map<number, Note>();
    let page: number | undefined = 1;
    for (let read = 0; page !== undefined; read += 1) {
      if (read === PAGES) throw new Error(`more than ${PAGES} pages of comments`);
      const query = `activity_filter=only_comments&order_by=created_at&sort=asc&per_page=100&page=${page}`;
      const response = await call(this.world, this.access, "GET", `${this.#path}?${query}`);
      if (response.status !== 200 || !Array.isArray(response.body)) throw new Error(this.#failed("read", response));
      for (const note of response.body as Note[]) if (this.#isOurs(note)) found.set(note.id, note);
      const next = nextPage(response.headers);
      page = next !== undefined && next > page ? next : undefined;
    }
    return [...found.values()].sort((one, other) => one.id - other.id);
  }

  /** Edits `note`. Returns `undefined` if it was deleted. */
  async edit(note: Note, body: string): Promise<"edited" | "unchanged" | undefined> {
    if (note.body === body) return "unchanged";
    const response = await call(this.world, this.access, "PUT", `${this.#path}/${note.id}`, { body });
    if (response.status === 404) return undefined;
    if (response.status !== 200) throw new Error(this.#failed("edit", response));
    return "edited";
  }

  /** Creates a comment and returns its id. If the outcome of a request is unknown, checks for the comment before a retry. */
  async create(body: string): Promise<number> {
    for (let attempt = 1; ; attempt += 1) {
      const response = await call(this.world, this.access, "POST", this.#path, { body });
      const id = (response.body as { id?: unknown } | null)?.id;
      if (response.status === 201 && typeof id === "number") return id;
      const open = response.status === 0 || response.status >= 500;
      if (!open || attempt === MAX_ATTEMPTS) throw new Error(this.#failed("write", response));
      await this.world.sleep(1000 * 2 ** (attempt - 1));
      const existing = (await this.ours()).find((note) => note.body === body);
      if (existing !== undefined) return existing.id;
    }
  }

  /** Deletes duplicates and returns the ids of the deleted ones. A duplicate that remains is not an error. */
  async remove(duplicates: readonly Note[]): Promise<number[]> {
    const deleted: number[] = [];
    for (const { id } of duplicates) {
      const response = await call(this.world, this.access, "DELETE", `${this.#path}/${id}`);
      if (response.status === 204 || response.status === 404) deleted.push(id);
    }
    return deleted;
  }

  #isOurs(note: Note): boolean {
    return !note.system && note.author?.id === this.author && note.body.split(/\r?\n/, 1)[0] === this.#marker;
  }

  #failed(verb: string, response: GitlabResponse): string {
    const place = `the comments of !${this.place.mergeRequest} in project ${this.place.project}`;
    const hint = response.status === 404 ? "; the token may not see it, or the numbers are wrong" : "";
    return `cannot ${verb} ${place}: ${describeError(this.access, response)}${hint}`;
  }
}
