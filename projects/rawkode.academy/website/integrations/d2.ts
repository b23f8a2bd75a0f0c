import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { D2 } from "@terrastruct/d2";
import type { AstroIntegration } from "astro";

/** `import svg from "./name.d2?direction=right"` gives the drawn diagram as SVG text, ready to be put into a page. */
const REQUEST = /^(?<file>.+\.d2)\?direction=(?<direction>right|down)$/;

/** D2 runs as WebAssembly in a worker thread. The package starts it, but offers no way to end it. */
type Renderer = D2 & { worker?: { terminate(): unknown } };

export default function d2(): AstroIntegration {
  let renderer: Renderer | undefined;
  // The worker holds one request at a time: a second one would take the answer of the first.
  let queue: Promise<unknown> = Promise.resolve();

  async function draw(file: string, direction: string): Promise<string> {
    renderer ??= new D2();
    const source = `direction: ${direction}\n${await readFile(file, "utf8")}`;
    const salt = `${basename(file, ".d2")}-${direction}`;
    const { diagram, renderOptions } = await renderer.compile({
      fs: { index: source },
      options: { layout: "elk", pad: 4, noXMLTag: true, salt },
    });
    return tidy(await renderer.render(diagram, renderOptions), salt);
  }

  function enqueue(file: string, direction: string): Promise<string> {
    const drawn = queue.then(() => draw(file, direction));
    queue = drawn.catch(() => undefined);
    return drawn;
  }

  return {
    name: "d2",
    hooks: {
      "astro:config:setup": ({ updateConfig }) => {
        updateConfig({
          vite: {
            plugins: [
              {
                name: "d2",
                enforce: "pre",
                async load(id) {
                  const { file, direction } = REQUEST.exec(id)?.groups ?? {};
                  if (!file || !direction) return null;
                  this.addWatchFile(file);
                  const svg = await enqueue(file, direction);
                  return { code: `export default ${JSON.stringify(svg)};`, map: null };
                },
              },
            ],
          },
        });
      },
      "astro:build:done": async () => {
        await renderer?.worker?.terminate();
        renderer = undefined;
      },
    },
  };
}

/**
 * Makes D2's picture fit the page: no style sheet, no embedded fonts and no style attributes (the content security policy
 * forbids them), colours by class only, so that src/styles/diagram.css can follow the reader's light or dark theme.
 */
export function tidy(svg: string, salt: string): string {
  const size = /viewBox="0 0 (?<width>\d+) (?<height>\d+)"/.exec(svg)?.groups;
  const inner = /<svg class="[^"]*d2-svg"[^>]*viewBox="(?<box>[^"]+)">(?<body>[\s\S]*)<\/svg><\/svg>\s*$/.exec(svg)?.groups;
  if (!size || !inner?.["box"] || !inner["body"]) {
    throw new Error(`the SVG that D2 drew for ${salt} does not have the expected form`);
  }
  const body = inner["body"]
    .replace(/<style[\s\S]*?<\/style>/g, "")
    .replace(/^\s*<rect[^>]*class=" fill-N7"[^>]*\/>/, "")
    .replace(/ style="([^"]*)"/g, (_, style: string) => attributes(style))
    .replace(/<[a-z][^>]*>/g, withoutFixedColours)
    .replace(/(\d+)\.0+(?=[\s",)])/g, "$1");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${inner["box"]}" width="${size["width"]}" height="${size["height"]}" aria-hidden="true" focusable="false">${body.trim()}</svg>`;
}

function attributes(style: string): string {
  return style
    .split(";")
    .map((declaration) => declaration.split(":").map((part) => part.trim()))
    .filter(([name, value]) => name && value)
    .map(([name, value]) => ` ${name}="${value}"`)
    .join("");
}

function withoutFixedColours(tag: string): string {
  let plain = tag;
  if (/class="[^"]*\bfill-/.test(tag)) plain = plain.replace(/ fill="[^"]*"/, "");
  if (/class="[^"]*\bstroke-[NBA]/.test(tag)) plain = plain.replace(/ stroke="[^"]*"/, "");
  return plain;
}
