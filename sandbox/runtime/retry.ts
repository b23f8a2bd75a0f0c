// Makes miniflare's storage wait while another process writes the same data. On Cloudflare, one process has the data
// of a KV namespace, a D1 database or an R2 bucket. In the sandbox each group has a separate process, and SQLite
// immediately refuses a second writer of a file.
//
// miniflare has no option for this. Two small Workers, which it reads from files, forward requests to its storage. This
// module adds a retry to the text of these files (miniflare 5).

import fs from "node:fs";

/** The files of the Workers, and the variable in each that has the namespace of its objects. */
const ENTRIES = [
	// Writes of KV and R2 can be retried, even if the first one succeeded.
	{
		file: "workers/shared/object-entry.worker.js",
		namespace: "objectNamespace",
		busy: /SQLITE_BUSY|database is locked|internal error|Network connection lost/,
		firstErrorStatus: 500,
	},
	// D1 responds to a failed query with 200 and JSON.
	{
		file: "workers/d1/entry.worker.js",
		namespace: "namespace",
		busy: /^\{.*(SQLITE_BUSY|database is locked)/,
		firstErrorStatus: 200,
	},
];

/** The call that is retried. */
const CALL = "await stub.fetch(request, ";

/** The maximum size of a request that is retried, in bytes. Its body is held in memory. The API's maximum is 100 MiB. */
const MAX_SIZE = 128 * 1024 * 1024;

/**
 * Retries a request that SQLite refused. The request changed nothing, because its transaction did not begin. workerd
 * replaces an object that throws such an error, so each attempt needs a new stub.
 */
const RETRY = `
async function sandboxFetch({ busy, firstErrorStatus }, namespace, stub, request, init) {
  if (Number(request.headers.get("content-length")) > ${MAX_SIZE}) return stub.fetch(request, init);
  const { url, method, headers } = request;
  // workerd gives a GET to KV an empty body.
  const body = method === "GET" || method === "HEAD" ? undefined : await request.arrayBuffer();
  for (let attempt = 1; ; attempt += 1) {
    let failure;
    try {
      const response = await namespace.get(stub.id).fetch(new Request(url, { method, headers, body }), init);
      if (response.status < firstErrorStatus) return response;
      const text = await response.text();
      failure = { text, response: () => new Response(text, response) };
    } catch (error) {
      failure = { text: String(error), response: () => { throw error; } };
    }
    if (attempt === 200 || !busy.test(failure.text)) return failure.response();
    await scheduler.wait(5 + Math.random() * 45);
  }
}
`;

const read = fs.readFileSync;

function readWithRetry(...parameters: Parameters<typeof read>): ReturnType<typeof read> {
	const content = read(...parameters);
	const entry = ENTRIES.find(({ file }) => String(parameters[0]).endsWith(`/${file}`));
	if (entry === undefined || typeof content !== "string") return content;
	if (!content.includes(CALL)) console.error(`cannot add the retry to ${entry.file} of miniflare`);
	const { busy, firstErrorStatus, namespace } = entry;
	const options = `{ busy: ${busy}, firstErrorStatus: ${firstErrorStatus} }`;
	return content.replace(CALL, `await sandboxFetch(${options}, ${namespace}, stub, request, `) + RETRY;
}

fs.readFileSync = readWithRetry as typeof read;
