// Reports errors that methods throw when another Worker calls them over RPC. workerd passes them to the
// caller without their stack, and reports nothing for the Worker that threw.
//
// The sandbox adds this module to versions with such methods. Each report is a line of the console, which
// the sandbox removes from the Worker's output.

import { DurableObject, RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

// The code of the version may replace the console. This module runs before it.
const print = console.debug.bind(console);

/** The classes of the runtime whose subclasses have methods for callers. */
const bases = [DurableObject, WorkerEntrypoint, RpcTarget].map((base) => base.prototype);

/** The methods that the runtime calls itself. workerd reports their errors. */
const unwatched = new Set(["constructor"]);

/** The prototypes whose methods are wrapped. */
const watched = new WeakSet();

const isInstance = (value, base) => typeof value === "object" && value !== null && Object.prototype.isPrototypeOf.call(base, value);

/** Wraps the methods of a prototype and of those that it extends. */
function watchPrototype(prototype, report) {
	for (let current = prototype; current && current !== Object.prototype && !bases.includes(current) && !watched.has(current); current = Object.getPrototypeOf(current)) {
		watched.add(current);
		for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(current))) {
			const isMethod = typeof property.value === "function" && property.configurable && !unwatched.has(name);
			if (isMethod) Object.defineProperty(current, name, { ...property, value: new Proxy(property.value, { apply: watchCall(report) }) });
		}
	}
}

const watchCall = (report) => (method, target, parameters) => {
	// The caller can call the methods of such a result.
	const watchResult = (value) => {
		if (isInstance(value, RpcTarget.prototype)) watchPrototype(Object.getPrototypeOf(value), report);
	};
	try {
		const result = Reflect.apply(method, target, parameters);
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
