// Opens pages for a test that does other things in between: one JSON document a line on stdin, one answer a line on stdout.

import { launch, open } from "./browser.ts";

/** The page to open, the text to wait for, the file for a picture of an element, and whether it is seen on a phone. */
type Look = { url: string; text?: string; part?: string; picture?: string; phone?: boolean };

/** The links of an element that a narrow page does not show, also after it scrolled to them. */
function unreachable(element: Element): string[] {
	const links = [...element.querySelectorAll("a[href], summary")];
	const hidden = links.filter((link) => {
		link.scrollIntoView({ block: "center", inline: "center" });
		const { left, right, width } = link.getBoundingClientRect();
		return width === 0 || left < 0 || right > document.documentElement.clientWidth;
	});
	const page = document.documentElement;
	const beyond = page.scrollWidth > page.clientWidth ? ["the page itself"] : [];
	return [...beyond, ...hidden.map((link) => (link as HTMLElement).innerText)];
}

const browser = await launch();
try {
	for await (const line of console) {
		if (line === "") break; // What Bun makes of the end.
		const look = JSON.parse(line) as Look;
		const { page, complaints, status } = await open(browser, look.url);
		if (look.picture) await page.setViewport({ width: 1080, height: 900, deviceScaleFactor: 1.5 });
		if (look.phone) await page.setViewport({ width: 390, height: 844 });
		const part = look.part ?? "body";
		const seen = (part: string, text: string) => (document.querySelector(part) as HTMLElement | null)?.innerText.includes(text);
		if (look.text) await page.waitForFunction(seen, { timeout: 10_000 }, part, look.text);
		const element = await page.waitForSelector(part);
		const text = await element?.evaluate((element) => (element as HTMLElement).innerText);
		const size = look.picture ? (await element?.screenshot({ path: look.picture as `${string}.png` }))?.length : undefined;
		const hidden = look.phone ? await element?.evaluate(unreachable) : undefined;
		await page.close();
		console.log(JSON.stringify({ status, text, complaints, size, hidden }));
	}
} finally {
	await browser.close();
}
