// Reports errors that methods throw when another Worker calls them over RPC. workerd gives them to the
// caller without their stack, and reports nothing for the Worker that threw.
//
// The sandbox adds this module to versions with such methods. Each report is a line of the console, which
// the sandbox removes from the Worker's output.

import { DurableObject, RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

// The code of the version may replace the console. This module runs before it.
const print = console.debug.bind(console);

/** The classes of the runtime. Their subclasses have methods for callers. */
const bases = [DurableObject, WorkerEntrypoint, RpcTarget].map((base) => base.prototype);

/** The methods that the runtime calls itself. workerd reports their errors. */
const unwatched = new Set(["constructor"]);

const seen = new WeakSet();

const isInstance = (value, base) => typeof value === "object" && value !== null && Object.prototype.isPrototypeOf.call(base, value);

/** Wraps the methods of a prototype and of those that it extends. */
function watchPrototype(prototype, report) {
	for (let at = prototype; at && at !== Object.prototype && !bases.includes(at) && !seen.has(at); at = Object.getPrototypeOf(at)) {
		seen.add(at);
		for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
			const isMethod = typeof property.value === "function" && property.configurable && !unwatched.has(name);
			if (isMethod) Object.defineProperty(at, name, { ...property, value: new Proxy(property.value, { apply: watchCall(report) }) });
		}
	}
}

const watchCall = (report) => (method, target, given) => {
	// A result whose methods the caller can call.
	const watchResult = (value) => {
		if (isInstance(value, RpcTarget.prototype)) watchPrototype(Object.getPrototypeOf(value), report);
	};
	try {
		const result = Reflect.apply(method, target, given);
		if (result instanceof Promise) result.then(watchResult, report);
		else watchResult(result);
		return result;
	} catch (error) {
		report(error);
		throw error;
	}
};

/** Reports the errors of the methods of these exports, except for the handlers of `events`. */
export function watch(exports, marker, member, events) {
	for (const event of events) unwatched.add(event);
	const report = (error) => {
		if (!(error instanceof Error)) return;
		const { name, message, stack } = error;
		print(marker + JSON.stringify({ member, name: String(name), message: String(message), stack: String(stack) }));
	};
	for (const value of Object.values(exports)) {
		const isClass = typeof value === "function" && bases.some((base) => isInstance(value.prototype, base));
		if (isClass) watchPrototype(value.prototype, report);
	}
}
