// Reads and writes the storage of Workers for the API. The sandbox loads it like a Worker, with one
// binding called STORE. The request's header `operation` holds the operation.

/**
 * Splits SQL into statements. Ignores semicolons in quotes, comments and bodies of triggers. Like
 * Cloudflare, only `BEGIN` in upper case starts a body (https://github.com/cloudflare/workers-sdk/issues/10998),
 * except in files.
 */
function split(sql, isFile) {
	const statements = [];
	let start = 0;
	let depth = 0;
	let content = false;
	const token = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?\*\/|[A-Za-z_]+|;|\S/g;
	for (const { 0: text, index } of sql.matchAll(token)) {
		if (text.startsWith("--") || text.startsWith("/*")) continue;
		if (text === ";" && depth === 0) {
			if (content) statements.push(sql.slice(start, index));
			start = index + 1;
			content = false;
			continue;
		}
		content = true;
		const word = text.toUpperCase();
		const isTrigger = /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)*CREATE\s+(?:TEMP\s+|TEMPORARY\s+)?TRIGGER\b/i.test(sql.slice(start, start + 500));
		if (isTrigger && ((isFile ? word : text) === "BEGIN" || (word === "CASE" && depth > 0))) depth += 1;
		else if (isTrigger && word === "END" && depth > 0) depth -= 1;
	}
	if (content) statements.push(sql.slice(start));
	return statements;
}

async function query({ raw, isFile }, request, store) {
	const body = await request.json();
	const queries = Array.isArray(body.batch) ? body.batch : Array.isArray(body) ? body : [body];
	const results = [];
	for (const { sql, params } of queries) {
		const statements = split(sql ?? "", isFile).map((text) => store.prepare(text));
		if (params?.length && statements.length === 1) statements[0] = statements[0].bind(...params);
		if (statements.length === 0) throw new Error("No SQL statements detected.");
		if (!raw) {
			results.push(...(await store.batch(statements)));
			continue;
		}
		for (const statement of statements) {
			const [columns = [], ...rows] = await statement.raw({ columnNames: true });
			results.push({ success: true, meta: {}, results: { columns, rows } });
		}
	}
	return Response.json(results);
}

/** Returns the SQL that recreates a database. */
async function dump({ noSchema, noData, tables }, _, store) {
	const statement = store.prepare("PRAGMA miniflare_d1_export(?,?,?);").bind(noSchema, noData, ...tables);
	const [lines] = await statement.raw();
	return new Response(lines.join("\n"));
}

const kv = {
	async get({ key }, _, store) {
		const { value, metadata } = await store.getWithMetadata(key, "stream");
		if (value === null) return new Response(null, { status: 404 });
		return new Response(value, { headers: { metadata: JSON.stringify(metadata) } });
	},
	async metadata({ key }, _, store) {
		const { value, metadata } = await store.getWithMetadata(key, "stream");
		await value?.cancel();
		return value === null ? new Response(null, { status: 404 }) : Response.json(metadata);
	},
	async put({ key, options }, request, store) {
		await store.put(key, await request.arrayBuffer(), options);
		return new Response();
	},
	async delete({ keys }, _, store) {
		for (const key of keys) await store.delete(key);
		return new Response();
	},
	async list({ options }, _, store) {
		return Response.json(await store.list(options));
	},
	async bulkPut(_, request, store) {
		for (const { key, value, base64, expiration, expiration_ttl, metadata } of await request.json()) {
			const bytes = base64 ? Uint8Array.from(atob(value), (c) => c.charCodeAt(0)) : value;
			await store.put(key, bytes, { expiration: expiration || undefined, expirationTtl: expiration_ttl || undefined, metadata });
		}
		return new Response();
	},
	async bulkGet({ keys, type, withMetadata }, _, store) {
		const values = {};
		for (const key of keys) {
			const { value, metadata } = await store.getWithMetadata(key, type);
			values[key] = withMetadata ? { value, metadata } : value;
		}
		return Response.json({ values });
	},
};

const r2 = {
	async objectPut({ key, options }, request, store) {
		const object = await store.put(key, await request.arrayBuffer(), options);
		return Response.json({ key, etag: object.etag, size: String(object.size), uploaded: object.uploaded, version: object.version, storage_class: object.storageClass });
	},
	async objectGet({ key }, _, store) {
		const object = await store.get(key);
		if (object === null) return new Response(null, { status: 404 });
		const headers = new Headers({ etag: object.httpEtag, "content-length": String(object.size) });
		object.writeHttpMetadata(headers);
		return new Response(object.body, { headers });
	},
	async objectList({ options }, _, store) {
		const { objects, truncated, cursor } = await store.list(options);
		const listed = objects.map((one) => ({ key: one.key, etag: one.etag, size: one.size, last_modified: one.uploaded, storage_class: one.storageClass }));
		return Response.json({ objects: listed, truncated, cursor });
	},
	async objectDelete({ key }, _, store) {
		await store.delete(key);
		return new Response();
	},
};

export default {
	async fetch(request, env) {
		const operation = JSON.parse(decodeURIComponent(request.headers.get("operation")));
		try {
			return await { query, dump, ...kv, ...r2 }[operation.action](operation, request, env.STORE);
		} catch (error) {
			// The binding adds the type of an error of D1 to its message. The API does not.
			const text = error instanceof Error ? error.message : String(error);
			return new Response(text.replace(/^D1_ERROR: /, ""), { status: 400 });
		}
	},
};
