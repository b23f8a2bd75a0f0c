// Gives a Hyperdrive binding without a local database one that refuses connections with the reason, because a property of
// the binding cannot throw.

/** A binding: its type, and the fields of this type. */
export type Fields = { type: string; [field: string]: unknown };

/** The ports of databases that refuse all connections, by their reason. */
const refusingDatabases = new Map<string, number>();

/** The time in milliseconds in which a client of Postgres sends its first message. A client of MySQL waits for the server's. */
const FIRST_MESSAGE_TIMEOUT = 2000;

/** Returns the port of a database that refuses all connections with `reason`, in the protocols of Postgres and MySQL. */
function refusingDatabase(reason: string): number {
	const known = refusingDatabases.get(reason);
	if (known !== undefined) return known;
	const text = Buffer.from(reason);
	const fields = Buffer.concat([Buffer.from("SFATAL\0VFATAL\0C08001\0M"), text, Buffer.from("\0\0")]);
	const postgres = Buffer.concat([Buffer.from("E\0\0\0\0"), fields]);
	postgres.writeUInt32BE(fields.length + 4, 1);
	// An error packet with the code of "too many connections", which a server may send before the handshake.
	const mysql = Buffer.concat([Buffer.from([text.length + 3, 0, 0, 0, 0xff, 0x10, 0x04]), text]);
	mysql.writeUIntLE(text.length + 3, 0, 3);
	const server = Bun.listen<{ timer?: Timer }>({
		hostname: "127.0.0.1",
		port: 0,
		socket: {
			open(socket) {
				socket.data = { timer: setTimeout(() => socket.end(mysql), FIRST_MESSAGE_TIMEOUT) };
			},
			data(socket, bytes) {
				clearTimeout(socket.data.timer);
				// A request for TLS or GSS encryption. The startup message follows.
				const isEncryption = bytes.length === 8 && bytes.readUInt16BE(4) === 1234;
				if (isEncryption) socket.write("N");
				else socket.end(postgres);
			},
			close(socket) {
				clearTimeout(socket.data.timer);
			},
			error(_, error) {
				console.error(error);
			},
		},
	});
	server.unref();
	refusingDatabases.set(reason, server.port);
	return server.port;
}

/** Replaces the missing local database of a Hyperdrive binding with one that refuses connections with the reason. */
export function withDatabase(binding: Fields): Fields {
	if (binding.type !== "hyperdrive" || binding.reason === undefined) return binding;
	const port = refusingDatabase(String(binding.reason));
	return { type: "hyperdrive", id: binding.id, dev: { connectionString: `postgres://none:none@127.0.0.1:${port}/no-local-database` } };
}
