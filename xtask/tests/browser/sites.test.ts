// What a person sees after `cargo xtask deploy`: the addresses come from the environment.

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Browser } from "puppeteer-core";
import { complaintsOfAxe, launch, open, SCHEMES, shot, WIDTHS } from "./browser.ts";

function address(name: string): string {
	const value = process.env[name];
	if (value === undefined) throw new Error(`${name} is not set: run \`cargo xtask test\``);
	return value;
}

const website = address("WEBSITE_URL");
const studio = address("STUDIO_URL");
const sandbox = address("SANDBOX_URL");

let browser: Browser;
beforeAll(async () => {
	browser = await launch();
}, 60_000);
afterAll(async () => {
	await browser?.close();
});

test("every page of the website opens without a complaint, and every link leads somewhere", async () => {
	const waiting = [new URL(website).href];
	const seen = new Set<string>();
	const external = new Set<string>();
	while (waiting.length > 0) {
		const url = waiting.pop() as string;
		if (seen.has(url)) continue;
		seen.add(url);
		const { page, complaints, status } = await open(browser, url);
		expect(status, url).toBe(200);
		expect(complaints, url).toEqual([]);
		expect((await page.title()).length, url).toBeGreaterThan(3);
		await shot(page, `website-${new URL(url).pathname.replaceAll("/", "_")}`);
		const links = await page.$$eval("a[href]", (anchors) => anchors.map((anchor) => (anchor as HTMLAnchorElement).href));
		for (const link of links) {
			const target = new URL(link);
			target.hash = "";
			if (target.origin === new URL(website).origin) waiting.push(target.href);
			else external.add(target.href);
		}
		await page.close();
	}
	expect(seen.size).toBeGreaterThanOrEqual(6);
	expect([...external].filter((url) => !/^https?:\/\/(127\.0\.0\.1|[\w.-]*localhost)/.test(url) && !url.startsWith("https://"))).toEqual([]);
}, 120_000);

test("axe-core finds nothing on the website and the studio, and each fits a phone and a desktop", async () => {
	const pages = ["/", "/how-it-works/", "/deploys/", "/previews/", "/rollbacks/", "/engines/", "/sandbox/", "/no/such/page"];
	const complaints: string[] = [];
	for (const url of [...pages.map((path) => new URL(path, website).href), studio, new URL("/no/such/page", studio).href]) {
		complaints.push(...(await complaintsOfAxe(browser, url)));
	}
	expect(complaints).toEqual([]);
}, 180_000);

test("a page has a picture for previews of links, and links to the repository and its documentation", async () => {
	const { page } = await open(browser, website);
	const content = (property: string) => page.$eval(`meta[property="${property}"]`, (meta) => (meta as HTMLMetaElement).content);
	const image = new URL(await content("og:image"));
	expect(image.origin).toBe("https://rawkode.academy");
	const response = await fetch(new URL(image.pathname, website));
	expect([response.status, response.headers.get("Content-Type")]).toEqual([200, "image/png"]);
	const links = await page.$$eval("footer a", (anchors) => anchors.map((anchor) => [anchor.textContent, (anchor as HTMLAnchorElement).href]));
	expect(links.map(([text]) => text)).toEqual(["Repository", "Documentation"]);
	expect(links.map(([, address]) => address)).toEqual(["https://gitlab.example.com/acme/sites", "https://gitlab.example.com/acme/sites/-/tree/HEAD/docs"]);
}, 60_000);

test("a button copies the commands of a block, without prompts and remarks", async () => {
	const page = await browser.newPage();
	// A browser without a window has no clipboard.
	await page.evaluateOnNewDocument(() => {
		const writeText = async (text: string) => {
			document.documentElement.dataset["copied"] = text;
		};
		Object.defineProperty(navigator, "clipboard", { value: { writeText } });
	});
	await page.goto(new URL("/deploys/", website).href, { waitUntil: "networkidle2" });
	await page.click("button.copy");
	await page.waitForFunction(() => document.querySelector("button.copy")?.textContent === "Copied", { timeout: 10_000 });
	const copied = await page.evaluate(() => document.documentElement.dataset["copied"]);
	expect(copied).toBe("cargo xtask deploy website\ncargo xtask deploy website rawkode.studio\ncargo xtask deploy");
	await page.close();
}, 60_000);

test("the diagram is drawn and the picture is loaded", async () => {
	const { page } = await open(browser, new URL("/how-it-works/", website).href);
	const drawn = await page.$$eval("svg text", (texts) => texts.map((text) => text.textContent?.trim() ?? "").filter(Boolean));
	expect(drawn.length).toBeGreaterThan(4);
	const sizes: number[] = [];
	for (const path of ["/", "/how-it-works/"]) {
		await page.goto(new URL(path, website).href, { waitUntil: "networkidle2" });
		sizes.push(...(await page.$$eval("img", (images) => images.map((image) => image.naturalWidth))));
	}
	expect(sizes.length).toBeGreaterThan(0);
	expect(Math.min(...sizes)).toBeGreaterThan(0);
}, 60_000);

test("a page that is not there gets the site's own 404", async () => {
	const { page, status } = await open(browser, new URL("/no/such/page", website).href);
	expect(status).toBe(404);
	expect(await page.$("a[href='/']")).not.toBeNull();
}, 60_000);

test("the studio's page shows its own API's answer", async () => {
	const { page, complaints, status } = await open(browser, studio);
	// It is in the browser's cache if it was opened before.
	expect([200, 304]).toContain(status);
	expect(complaints).toEqual([]);
	await page.waitForFunction(() => document.querySelector("#environment")?.textContent !== "", { timeout: 10_000 });
	expect(await page.$eval("#environment", (pill) => pill.textContent)).toBe("local");
	expect(await page.$eval("#health-json", (json) => JSON.parse(json.textContent ?? ""))).toMatchObject({ status: "ok", environment: "local" });
	await shot(page, "studio");
}, 60_000);

test("the sandbox's page lists what is deployed, with links that answer", async () => {
	const { page, complaints, status } = await open(browser, sandbox);
	expect(status).toBe(200);
	expect(complaints).toEqual([]);
	await page.waitForSelector("section#website .badge");
	expect(await page.$$eval("h2", (titles) => titles.map((title) => title.textContent))).toEqual(["rawkode.academy/website", "rawkode.studio"]);
	await shot(page, "sandbox");
	const links = await page.$$eval("main a[href]", (anchors) => anchors.map((anchor) => (anchor as HTMLAnchorElement).href));
	expect(links.length).toBeGreaterThanOrEqual(4);
	for (const link of links) {
		const response = await page.goto(link);
		expect([200, 304], link).toContain(response?.status());
	}
}, 60_000);

test("axe-core finds nothing on the sandbox's page and on the page of an unknown host", async () => {
	const unknown = sandbox.replace("127.0.0.1", "nothing.localhost");
	for (const url of ["#workers", "#merge-requests", "#requests", "#logs"].map((hash) => sandbox + hash).concat(unknown)) {
		expect(await complaintsOfAxe(browser, url)).toEqual([]);
	}
}, 120_000);

test("the views of the sandbox's page are tabs that the keyboard reaches", async () => {
	const { page } = await open(browser, sandbox);
	await page.focus("#tab-workers");
	await page.keyboard.press("ArrowRight");
	await page.keyboard.press("ArrowRight");
	await page.waitForSelector("#requests table");
	expect(await page.$eval("#requests", (panel) => (panel as HTMLElement).innerText)).toContain("website.localhost");
	expect(await page.$eval("#workers", (panel) => (panel as HTMLElement).hidden)).toBe(true);
	expect(await page.$eval("#state", (state) => state.textContent)).toBe("connected");
}, 60_000);

test("the sandbox's page fits a phone and a desktop in both colour schemes", async () => {
	const { page, complaints } = await open(browser, sandbox);
	for (const width of WIDTHS) {
		for (const scheme of SCHEMES) {
			await page.setViewport({ width, height: 900 });
			await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
			for (const view of ["workers", "merge-requests", "requests", "logs"]) {
				await page.click(`#tab-${view}`);
				await page.waitForSelector(`#${view} > *`);
				const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
				expect(overflow, `${view} at ${width} px, ${scheme}`).toBe(0);
				// Tabs and tables must not hide a part beyond their edge, such as which version is live.
				const hidden = await page.$$eval(`#${view} .scroll, [role=tablist]`, (all) => all.filter((one) => one.scrollWidth > one.clientWidth).length);
				expect(hidden, `parts of ${view} at ${width} px`).toBe(0);
				await shot(page, `sandbox-${view}-${width}-${scheme}`);
			}
		}
	}
	expect(complaints).toEqual([]);
}, 60_000);
