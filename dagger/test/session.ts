// A stand-in for a Dagger session: the GraphQL endpoint that a module's client talks to. It runs nothing. Every object is
// the chain of calls that made it, so a test sees whole pipelines.
import { Kind, parse, type SelectionNode, type ValueNode } from "graphql";

import { connection } from "./stubs/dagger.js";

/** One call of a chain, with its arguments. An object among them is its own chain. */
export interface Call {
  name: string;
  args: Record<string, Value>;
}

export type Chain = Call[];
export type Value = string | number | boolean | null | Chain | Value[] | { [field: string]: Value };

/** The queries to the session, with their values. */
export interface Session {
  /** The received queries. */
  queries: string[];
  /** The chains whose value was read, or that ran because of `sync`. */
  asked: Chain[];
}

/** Returns the value of the last call of a chain. */
export type Answers = (last: string, chain: Chain) => unknown;

/** Runs `work` in a session with these `answers`. */
export async function inSession<T>(answers: Answers, work: () => Promise<T>): Promise<{ result: T; session: Session }> {
  const session: Session = { queries: [], asked: [] };
  const objects = new Map<string, Chain>();
  const token = "session-token";
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const right = `Basic ${btoa(`${token}:`)}`;
      if (request.method !== "POST" || new URL(request.url).pathname !== "/query")
        return new Response("", { status: 404 });
      if (request.headers.get("authorization") !== right) return new Response("", { status: 401 });
      const { query } = (await request.json()) as { query: string };
      session.queries.push(query);
      try {
        return Response.json({ data: answer(session, objects, answers, query) });
      } catch (error) {
        return Response.json({ errors: [{ message: error instanceof Error ? error.message : String(error) }] });
      }
    },
  });
  Object.assign(process.env, { DAGGER_SESSION_PORT: String(server.port), DAGGER_SESSION_TOKEN: token });
  try {
    let result: { value: T } | undefined;
    await connection(async () => {
      result = { value: await work() };
    });
    if (result === undefined) throw new Error("the session ended before the work did");
    return { result: result.value, session };
  } finally {
    await server.stop(true);
  }
}

function answer(session: Session, objects: Map<string, Chain>, answers: Answers, query: string): unknown {
  const definition = parse(query).definitions[0];
  if (definition?.kind !== Kind.OPERATION_DEFINITION) throw new Error(`no operation: ${query}`);
  const path: string[] = [];
  let chain: Chain = [];
  let selection: readonly SelectionNode[] | undefined = definition.selectionSet.selections;
  while (selection !== undefined) {
    const [node, ...more]: readonly SelectionNode[] = selection;
    if (node === undefined || more.length > 0) throw new Error(`one field at a time, please: ${query}`);
    if (node.kind === Kind.FIELD) {
      path.push(node.name.value);
      const args = Object.fromEntries((node.arguments ?? []).map((arg) => [arg.name.value, value(objects, arg.value)]));
      const known = node.name.value === "node" ? args["id"] : undefined;
      chain = Array.isArray(known) ? (known as Chain) : [...chain, { name: node.name.value, args }];
    }
    selection = node.kind === Kind.FRAGMENT_SPREAD ? undefined : node.selectionSet?.selections;
  }
  const last = chain.at(-1)?.name ?? "";
  let leaf: unknown;
  if (last === "id" || last === "sync") {
    const made = chain.slice(0, -1);
    const id = `object:${objects.size}`;
    objects.set(id, made);
    if (last === "sync") session.asked.push(made);
    leaf = id;
  } else {
    session.asked.push(chain);
    leaf = answers(last, chain);
    if (leaf === undefined) throw new Error(`no answer for ${path.join(".")}`);
  }
  return path.reduceRight<unknown>((inner, name) => ({ [name]: inner }), leaf);
}

function value(objects: Map<string, Chain>, node: ValueNode): Value {
  switch (node.kind) {
    case Kind.STRING:
      return objects.get(node.value) ?? node.value;
    case Kind.ENUM:
      return node.value;
    case Kind.INT:
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.BOOLEAN:
      return node.value;
    case Kind.LIST:
      return node.values.map((item) => value(objects, item));
    case Kind.OBJECT:
      return Object.fromEntries(node.fields.map((field) => [field.name.value, value(objects, field.value)]));
    default:
      return null;
  }
}
