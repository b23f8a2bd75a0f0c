// A small GitLab on 127.0.0.1, below a relative root: the notes of one merge request, for the protocol of the comment.
import type { Platform } from "../gitlab/src/api.js";

export const TOKEN = "glpat-canary-token";
export const ME = 7;
export const PROJECT = "12";
export const PLACE = { project: PROJECT, mergeRequest: "42", marker: "preview shop" };
export const MARKER = "<!-- preview shop -->";

export interface Note {
  id: number;
  body: string;
  system: boolean;
  author: { id: number };
}

/** A request that the server received. */
export interface Seen {
  method: string;
  /** The path below `/api/v4`, with its query. */
  path: string;
  body: string | undefined;
}

/** Returns a response in place of the server's. `after` runs after the response was sent. */
export type Fault = (seen: Seen, count: number) => Response | undefined | { after: Response };

export interface Server {
  apiUrl: string;
  notes: Note[];
  seen: Seen[];
  /** The client's wait in milliseconds. */
  waits: number[];
  world: Platform;
  stop(): Promise<void>;
}

/** Starts a server with `notes`, `perPage` of them on a page. */
export function serve(notes: Note[], fault: Fault = () => undefined, perPage = 2): Server {
  const seen: Seen[] = [];
  const waits: number[] = [];
  const base = "/gitlab/api/v4";
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const url = new URL(request.url);
      const path = url.pathname.slice(base.length) + url.search;
      const text = await request.text();
      const now: Seen = { method: request.method, path, body: text === "" ? undefined : text };
      seen.push(now);
      if (!url.pathname.startsWith(base)) return new Response("not below the root", { status: 418 });
      if (request.headers.get("private-token") !== TOKEN)
        return Response.json({ message: "401 Unauthorized" }, { status: 401 });
      const count = seen.filter(
        ({ method, path: other }) => method === now.method && bare(other) === bare(path),
      ).length;
      const fails = fault(now, count);
      if (fails instanceof Response) return fails;
      const answer = respond(notes, now, url, perPage);
      return fails === undefined ? answer : fails.after;
    },
  });
  return {
    apiUrl: `http://127.0.0.1:${server.port}${base}`,
    notes,
    seen,
    waits,
    world: {
      fetch: (url, init) => fetch(url, init),
      sleep: async (milliseconds) => void waits.push(milliseconds),
      now: () => Date.UTC(2026, 0, 1),
    },
    stop: () => server.stop(true),
  };
}

const bare = (path: string) => path.split("?", 1)[0];

function respond(notes: Note[], { method, path, body }: Seen, url: URL, perPage: number): Response {
  if (method === "GET" && path === "/user") return Response.json({ id: ME, username: "project_12_bot" });
  const match = /^\/projects\/([^/]+)\/merge_requests\/(\d+)\/notes(?:\/(\d+))?/.exec(path);
  const [, project, mergeRequest, id] = match ?? [];
  const missing = () => Response.json({ message: "404 Not found" }, { status: 404 });
  if (project !== PROJECT || mergeRequest !== "42") return missing();
  const text = body === undefined ? "" : (JSON.parse(body) as { body: string }).body;
  if (method === "GET") return page(notes, Number(url.searchParams.get("page")), perPage);
  if (method === "POST") {
    const note = {
      id: Math.max(100, ...notes.map((other) => other.id)) + 1,
      body: text,
      system: false,
      author: { id: ME },
    };
    notes.push(note);
    return Response.json(note, { status: 201 });
  }
  const index = notes.findIndex((note) => note.id === Number(id));
  const note = notes[index];
  if (note === undefined) return missing();
  if (method === "PUT") note.body = text;
  else notes.splice(index, 1);
  return method === "PUT" ? Response.json(note) : new Response(null, { status: 204 });
}

/** Returns one page. Notes of others are removed after paging, like unreadable notes in GitLab. */
function page(notes: Note[], number: number, perPage: number): Response {
  const pages = Math.max(1, Math.ceil(notes.length / perPage));
  const visible = notes.slice((number - 1) * perPage, number * perPage).filter(({ body }) => body !== "unreadable");
  const headers = { "X-Page": String(number), "X-Next-Page": number < pages ? String(number + 1) : "" };
  return Response.json(visible, { headers });
}

export const note = (id: number, body: string, author = ME, system = false): Note => ({
  id,
  body,
  system,
  author: { id: author },
});
