// A headless Chromium, and a page that remembers what went wrong on it.

import chromium from "@sparticuz/chromium";
import puppeteer, { type Browser, type Page } from "puppeteer-core";

/** A page and its complaints: console messages, uncaught exceptions, requests that failed. */
export type Watched = { page: Page; complaints: string[] };

/** Starts the browser. It reaches nothing but this machine. */
export async function launch(): Promise<Browser> {
	return puppeteer.launch({
		executablePath: await chromium.executablePath(),
		headless: "shell",
		args: [
			"--headless",
			"--no-sandbox",
			"--disable-gpu",
			"--disable-dev-shm-usage",
			"--no-first-run",
			"--disable-background-networking",
			"--disable-component-update",
			"--disable-sync",
			"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1",
		],
	});
}

/** Opens `url` at a desktop's width. */
export async function open(browser: Browser, url: string): Promise<Watched & { status: number }> {
	const page = await browser.newPage();
	await page.setViewport({ width: 1280, height: 900 });
	const complaints: string[] = [];
	page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
	page.on("pageerror", (error) => complaints.push(String(error)));
	page.on("requestfailed", (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`));
	const response = await page.goto(url, { waitUntil: "networkidle2", timeout: 30_000 });
	return { page, complaints, status: response?.status() ?? 0 };
}

/** Keeps a picture in the folder that SHOTS names, for people who want to look. */
export async function shot(page: Page, name: string): Promise<void> {
	const folder = process.env.SHOTS;
	if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
}

/** The widths of a phone and of a desktop. */
export const WIDTHS = [390, 1280] as const;

/** The colour schemes. */
export const SCHEMES = ["light", "dark"] as const;

/**
 * Runs axe-core on a page at both widths in both colour schemes. Returns the rules that are broken, each with its first
 * element, and what is wider than the window.
 */
export async function complaintsOfAxe(browser: Browser, url: string): Promise<string[]> {
	const page = await browser.newPage();
	// The page lets no script run but its own.
	await page.setBypassCSP(true);
	await page.goto(url, { waitUntil: "networkidle2", timeout: 30_000 });
	await page.evaluate(await Bun.file(new URL("node_modules/axe-core/axe.min.js", import.meta.url)).text());
	type Violation = { id: string; nodes: { html: string }[] };
	const run = () => (globalThis as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } }).axe.run();
	const complaints: string[] = [];
	for (const width of WIDTHS) {
		for (const scheme of SCHEMES) {
			await page.setViewport({ width, height: 900 });
			await page.emulateMediaFeatures([
				{ name: "prefers-color-scheme", value: scheme },
				{ name: "prefers-reduced-motion", value: "reduce" },
			]);
			const at = `${url} at ${width} px, ${scheme}`;
			const { violations } = await page.evaluate(run);
			complaints.push(...violations.map(({ id, nodes }) => `${at}: ${id}: ${nodes[0]?.html}`));
			const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
			if (overflow > 0) complaints.push(`${at}: ${overflow} px too wide`);
		}
	}
	await page.close();
	return complaints;
}
