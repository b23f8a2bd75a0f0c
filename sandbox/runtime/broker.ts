// Makes miniflare's queues deliver each message with its content type and its bytes. Without this, a consumer cannot
// distinguish a text from a JSON string. Clients that pull messages over HTTP need the content type.
//
// miniflare has no option for this. It reads the Worker that implements queues from a file. This module changes the
// text of that file (miniflare 5). The consumer of every queue is the Worker in queues.js.

import fs from "node:fs";

const FILE = "/workers/queues/broker.worker.js";

const CALL = "maybeService.queue(this.name, messages, metadata)";

const RAW = "batch.map((one) => ({ id: one.id, timestamp: one.timestamp, attempts: one.failedAttempts + 1, body: `${one.body.contentType}:${serialise(one).body}` }))";

const read = fs.readFileSync;

function readWithContentType(...parameters: Parameters<typeof read>): ReturnType<typeof read> {
	const content = read(...parameters);
	if (!String(parameters[0]).endsWith(FILE) || typeof content !== "string") return content;
	if (!content.includes(CALL)) console.error("cannot change the queues of miniflare");
	return content.replace(CALL, () => `maybeService.queue(this.name, ${RAW}, metadata)`);
}

fs.readFileSync = readWithContentType as typeof read;
