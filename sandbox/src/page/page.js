const make = (name, attributes = {}, ...children) => {
	const element = Object.assign(document.createElement(name), attributes);
	element.append(...children.filter((child) => child !== null && child !== undefined));
	return element;
};
const link = (url, text) => (url ? make("a", { href: url }, text ?? url) : text);

function age(time) {
	const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
	const steps = [[86400, "d"], [3600, "h"], [60, "min"]];
	for (const [size, unit] of steps) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
	return "just now";
}

const time = (at) => make("time", { dateTime: at, title: at }, age(at));
const badge = (text, kind = "") => make("span", { className: `badge ${kind}` }, text);
const cell = (...children) => make("td", {}, ...children);
/** Makes a cell whose text is truncated at the width of its column. */
const cut = (text, ...children) => make("td", { className: "cut", title: text }, ...(children.length > 0 ? children : [text]));

/** Makes a path without the account's id. A line may break after each slash. */
const path = (text) => text.replace(/(\/accounts\/)[0-9a-f]{32}/, "$1…").split(/(?<=\/)/).flatMap((part) => [part, make("wbr")]);

/** Makes a table with a heading for each column. It scrolls in a region that the keyboard can reach. */
function table(kind, caption, headings, rows, of) {
	if (rows.length === 0) return null;
	const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)));
	const body = make("table", { className: kind }, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...rows));
	const scroll = make("div", { className: "scroll", tabIndex: 0 }, body);
	scroll.setAttribute("role", "region");
	scroll.setAttribute("aria-label", of ? `${caption} of ${of}` : caption);
	return scroll;
}

/** Makes a command line with a button that copies it. */
function command(text, label) {
	const button = make("button", { className: "copy", type: "button" }, "copy");
	button.setAttribute("aria-label", `Copy the command to ${label}`);
	button.addEventListener("click", async () => {
		await navigator.clipboard.writeText(text);
		button.textContent = "copied";
		setTimeout(() => { button.textContent = "copy"; }, 1500);
	});
	return make("li", { className: "command" }, make("code", {}, text), button);
}

const isLocal = ({ environment }) => !environment || environment === "local";
const options = (worker) => (isLocal(worker) ? "" : ` --env ${worker.environment} --sandbox`);

function commands(worker) {
	const live = worker.timeline.find((entry) => entry.live);
	const wasLive = (entry) => entry.source !== "upload" && !entry.source.startsWith("preview ");
	const previous = worker.timeline.find((entry) => entry.version !== live?.version && wasLive(entry));
	const preview = worker.timeline.find((entry) => entry.source.startsWith("preview "));
	const lines = [];
	if (preview && preview.version !== live?.version) lines.push(command(`cargo xtask promote ${worker.project} --from ${preview.source.slice(8)}${options(worker)}`, "promote the latest preview"));
	if (previous) lines.push(command(`cargo xtask rollback ${worker.project} --to ${previous.version.slice(0, 8)}${options(worker)}`, "roll back"));
	const environment = isLocal(worker) ? "" : ` --env ${worker.environment}`;
	for (const cron of worker.crons) lines.push(command(`cargo xtask sandbox cron ${worker.project} --cron '${cron}'${environment}`, `run the cron trigger ${cron}`));
	return lines.length > 0 ? make("ul", { className: "commands" }, ...lines) : null;
}

function hosts(worker) {
	const entries = [worker.deployed ? link(worker.url) : make("span", { className: "soft" }, "not deployed")];
	for (const { alias, url } of worker.aliases) entries.push(link(url, alias));
	for (const domain of worker.domains) entries.push(link(`http://${domain}.localhost:${location.port}/`, domain));
	return make("ul", { className: "hosts" }, ...entries.map((entry) => make("li", {}, entry)));
}

function timeline(worker) {
	const url = (id) => worker.versions.find((version) => version.id === id)?.url;
	const rows = worker.timeline.map((entry) => make("tr", {},
		cell(link(url(entry.version), make("code", { title: entry.version }, entry.version.slice(0, 8)))),
		cut(entry.message ?? "", entry.commit ? make("code", {}, entry.commit) : make("span", { className: "soft" }, entry.message || "–")),
		cut(entry.source),
		cell(time(entry.at)),
		cell(entry.live ? badge("live") : "")));
	return table("versions", "Versions", ["Version", "Commit", "Source", "When", "Live"], rows, worker.name);
}

function workerPreviews(worker) {
	const rows = worker.workerPreviews.map(({ name, url, createdOn, deploymentCount, latest }) => make("tr", {},
		cut(name, link(url, name)),
		cell(latest ? link(latest.url, make("code", {}, latest.id.slice(0, 8))) : "–"),
		cell(String(deploymentCount)),
		cell(time(latest?.createdOn ?? createdOn))));
	return table("previews", "Previews with their own bindings", ["Preview", "Latest", "Deployments", "When"], rows, worker.name);
}

function workerSection(worker) {
	const title = worker.environment ?? "default environment";
	const hint = worker.previews ? null : make("p", { className: "note" }, "Versions have no URL, because ", make("code", {}, '"preview_urls": true'), " is not set.");
	const element = make("section", { className: "worker", id: worker.name },
		make("div", { className: "top" }, make("h3", {}, title), make("span", { className: "soft" }, "Worker ", make("code", {}, worker.name))),
		hosts(worker), hint, timeline(worker), workerPreviews(worker), commands(worker));
	element.setAttribute("aria-label", `${worker.project}, ${title}`);
	return element;
}

/** Makes an article for each project, with a section for each of its Workers. */
function projects(workers) {
	const byProject = Map.groupBy(workers, (worker) => worker.project);
	return [...byProject].map(([project, projectWorkers]) => make("article", {},
		make("div", { className: "top" }, make("h2", {}, project)), ...projectWorkers.map(workerSection)));
}

// The page draws these emoji like GitLab does, because some machines have no font with them.
const MARKS = { "✅": ["✓", "good"], "❌": ["✗", "bad"], "⏳": ["…", ""], "🗑": ["–", ""] };
function drawEmoji(element) {
	const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
	const nodes = [];
	while (walker.nextNode()) nodes.push(walker.currentNode);
	const draw = (part) => (MARKS[part] ? make("span", { className: `mark ${MARKS[part][1]}`, title: part }, MARKS[part][0]) : part);
	for (const node of nodes) node.replaceWith(...node.data.replaceAll("\ufe0f", "").split(/(✅|❌|⏳|🗑)/u).map(draw));
	return element;
}

/** Makes the headings of a comment one level lower than the heading of the merge request. */
function lowerHeadings(element) {
	for (const heading of element.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
		heading.setAttribute("role", "heading");
		heading.setAttribute("aria-level", "3");
	}
	return element;
}

function comment(note) {
	// The server sanitized this HTML, so it has no scripts.
	const text = lowerHeadings(drawEmoji(make("div", { className: "text", innerHTML: note.html, tabIndex: 0 })));
	text.setAttribute("role", "group");
	text.setAttribute("aria-label", `Comment of ${note.author}`);
	const by = make("p", { className: "by" },
		make("strong", { title: `@${note.username}` }, note.author), " ",
		note.system ? null : make("span", { className: "soft" }, time(note.createdAt)),
		note.editedAt ? make("span", { className: "soft" }, " · edited ", time(note.editedAt)) : null,
		note.internal ? make("span", { className: "soft" }, " · internal") : null);
	return make("section", { className: note.system ? "comment system" : "comment", id: `note_${note.id}` }, by, " ", text);
}

function mergeRequest(request) {
	return make("article", { id: request.id },
		make("div", { className: "top" },
			make("h2", {}, `!${request.iid} ${request.title}`),
			badge(request.state, request.state),
			...request.labels.map((label) => badge(label, "soft")),
			make("span", { className: "soft" }, make("code", {}, request.sourceBranch), " → ", make("code", {}, request.targetBranch)),
			make("span", { className: "soft" }, `${request.project}, by ${request.author}`)),
		...request.comments.map(comment));
}

/** Draws again, and keeps the details elements open that the user opened. */
function keepOpen(draw) {
	const all = () => [...document.querySelectorAll(".text details")];
	const key = (element) => `${element.closest(".comment").id} ${element.querySelector("summary")?.textContent}`;
	const open = new Map(all().map((element) => [key(element), element.open]));
	draw();
	for (const element of all()) element.open = open.get(key(element)) ?? element.open;
}

const empty = (text, line) => make("div", { className: "empty" }, text, ...(line ? [make("br"), make("code", {}, line)] : []));
const fill = (id, elements, otherwise) => document.getElementById(id).replaceChildren(...(elements.length > 0 ? elements : [otherwise]));

function drawState({ workers, mergeRequests: requests }) {
	fill("workers", projects(workers), empty("Nothing is deployed yet.", "cargo xtask deploy website"));
	fill("merge-requests", requests.map(mergeRequest), empty("There are no merge requests yet."));
}

/** Makes a line of the log with its time, Worker and text. Shows the level unless it is `log` or `info`. */
function logLine({ text, error }) {
	const [, at, worker, level, message] = /^(\S+) (\S+) (\S+) ([^]*)$/.exec(text) ?? [null, "", "", "", text];
	const stamp = make("time", { dateTime: at, title: at }, new Date(at).toLocaleTimeString("en-GB"));
	const isUsual = level === "log" || level === "info";
	return make("p", { className: error ? "bad" : level }, stamp,
		make("strong", { className: "cut", title: worker }, worker),
		make("span", {}, ...(isUsual ? [] : [make("span", { className: "level" }, level), " "]), message));
}

function drawActivity({ requests, output }) {
	const rows = requests.map((one) => make("tr", {},
		cell(time(one.at)), cell(one.method), cut(one.host),
		make("td", { className: "wide", title: one.path }, ...path(one.path)),
		make("td", { className: one.status >= 500 ? "bad" : "" }, String(one.status)), cell(`${one.milliseconds} ms`)));
	const element = table("requests", "The latest requests", ["When", "Method", "Host", "Path", "Status", "Duration"], rows);
	fill("requests", element ? [make("article", {}, element)] : [], empty("There were no requests since the sandbox started."));
	const lines = output.map(logLine);
	const log = make("div", { className: "output", tabIndex: 0 }, ...lines);
	log.setAttribute("role", "region");
	log.setAttribute("aria-label", "Output of Workers, newest last");
	fill("logs", lines.length > 0 ? [log] : [], empty("There was no output since the sandbox started.", "cargo xtask sandbox logs"));
}

const tabs = [...document.querySelectorAll("[role=tab]")];
const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
const selected = () => tabs.find((tab) => tab.getAttribute("aria-selected") === "true");

function select(tab) {
	for (const one of tabs) {
		one.setAttribute("aria-selected", String(one === tab));
		one.tabIndex = one === tab ? 0 : -1;
		panel(one).hidden = one !== tab;
	}
}

/** Shows the view, or the element in a view, that the fragment of the URL names. */
function followFragment() {
	const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
	const tab = target && tabs.find((one) => panel(one).contains(target));
	if (!tab) return;
	select(tab);
	if (panel(tab) !== target) target.scrollIntoView();
}

for (const [index, tab] of tabs.entries()) {
	tab.addEventListener("click", () => {
		select(tab);
		history.replaceState(null, "", `#${panel(tab).id}`);
		refresh();
	});
	tab.addEventListener("keydown", ({ key }) => {
		const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
		const next = step && tabs[(index + step + tabs.length) % tabs.length];
		next?.focus();
		next?.click();
	});
}
addEventListener("hashchange", followFragment);

/** The data that each part of the page shows, by its path. */
const drawn = new Map();
/** Draws again if the data changed, and once a minute for the ages. */
async function load(path, draw) {
	const text = await (await fetch(path)).text();
	const now = text + Math.floor(Date.now() / 60000);
	if (drawn.get(path) === now) return;
	const isFirst = !drawn.has(path);
	drawn.set(path, now);
	keepOpen(() => draw(JSON.parse(text)));
	// The target of a fragment such as `#mr-1-5` exists only after drawing.
	if (isFirst) followFragment();
}

async function refresh() {
	const state = document.getElementById("state");
	const isActivity = ["requests", "logs"].includes(panel(selected()).id);
	try {
		await load("/__sandbox/state.json", drawState);
		if (isActivity) await load("/__sandbox/activity.json", drawActivity);
		state.textContent = "connected";
		state.className = "";
	} catch {
		state.textContent = "the sandbox does not answer";
		state.className = "away";
	}
}
followFragment();
await refresh();
setInterval(refresh, 2000);
