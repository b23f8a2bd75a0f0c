// Receives the messages of all queues of a group. Forwards them to the consumer, or sends them to the sandbox if no
// Worker consumes them. miniflare's queues cannot be paused, purged or pulled over HTTP, and they lose the messages of a
// queue without a consumer.
//
// The body of a message has its content type and its bytes as base64. See broker.ts.

/** The paused queues. The environment has those that were paused at the start. */
let paused;

/** The time of the latest purge of each queue. */
const purges = new Map();

/** The interval in which a paused queue is checked, in milliseconds. */
const PAUSE_INTERVAL = 100;

const pausedQueues = (env) => (paused ??= new Set(env.PAUSED));

/** Returns the content type of a message, and its bytes. */
function parse(body) {
	const [, contentType, base64] = /^(text|json|bytes|v8):(.*)$/s.exec(body);
	return { contentType, base64, bytes: () => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)) };
}

/** Returns the fields of a message that hold its body. */
function decode({ contentType, bytes }) {
	if (contentType === "v8") return { serializedBody: bytes() };
	if (contentType === "bytes") return { body: bytes().buffer };
	const text = new TextDecoder().decode(bytes());
	return { body: contentType === "json" ? JSON.parse(text) : text };
}

/** Sends messages to their consumer, and applies its retries. */
async function forward(consumer, batch, messages) {
	const decoded = messages.map(({ id, timestamp, attempts, body }) => ({ id, timestamp, attempts, ...decode(parse(body)) }));
	const { outcome, retryBatch, retryMessages } = await consumer.queue(batch.queue, decoded, batch.metadata);
	const options = ({ delaySeconds }) => (delaySeconds === undefined ? undefined : { delaySeconds });
	if (retryBatch.retry || outcome !== "ok") {
		for (const message of messages) message.retry(options(retryBatch));
		return;
	}
	for (const retry of retryMessages ?? []) {
		messages.find(({ id }) => id === retry.msgId)?.retry(options({ delaySeconds: retry.delaySeconds ?? retryBatch.delaySeconds }));
	}
}

export default {
	/** Executes a command of the sandbox. */
	async fetch(request, env) {
		const { action, queue, messages } = await request.json();
		if (action === "pause") pausedQueues(env).add(queue);
		else if (action === "resume") pausedQueues(env).delete(queue);
		else if (action === "purge") purges.set(queue, Date.now());
		else if (action === "send") {
			const requests = messages.map(({ content_type: contentType, body, delay_seconds: delaySeconds }) => {
				const message = decode(parse(`${contentType}:${body}`));
				return { body: message.body, contentType, ...(typeof delaySeconds === "number" && { delaySeconds }) };
			});
			return Response.json((await env[`send ${queue}`].sendBatch(requests)) ?? {});
		}
		return Response.json({});
	},

	async queue(batch, env) {
		const { queue } = batch;
		while (pausedQueues(env).has(queue)) await scheduler.wait(PAUSE_INTERVAL);
		// A message that is not retried is acknowledged. So are the purged ones, which this drops.
		const messages = batch.messages.filter(({ timestamp }) => timestamp.getTime() > (purges.get(queue) ?? 0));
		if (messages.length === 0) return;
		const consumer = env.CONSUMERS[queue];
		if (consumer !== undefined) return forward(env[`consumer ${consumer}`], batch, messages);
		const backlog = messages.map(({ id, timestamp, body }) => {
			const { contentType, base64 } = parse(body);
			return { id, timestamp_ms: timestamp.getTime(), content_type: contentType, body: base64 };
		});
		await env.HOST.fetch("http://host/", { method: "POST", body: JSON.stringify({ queue, messages: backlog }) });
	},
};
