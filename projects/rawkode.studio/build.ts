// Builds dist/: the pages in site/ with what they use, then the files in public/ as they are.
import { cp, rm } from "node:fs/promises";

const root = import.meta.dir;

await rm(`${root}/dist`, { recursive: true, force: true });

const { outputs } = await Bun.build({
  entrypoints: [`${root}/site/index.html`, `${root}/site/404.html`],
  root: `${root}/site`,
  outdir: `${root}/dist`,
  publicPath: "/",
  target: "browser",
  minify: true,
  naming: { entry: "[name].[ext]", chunk: "_bun/[name]-[hash].[ext]", asset: "_bun/[name]-[hash].[ext]" },
});

// A page without code gets an empty script from the bundler. Neither the file nor the request for it is of use.
const empty = outputs.filter(({ size }) => size === 0).map(({ path }) => path);
const pages = outputs.filter(({ path }) => path.endsWith(".html")).map(({ path }) => path);
for (const page of pages) {
  const rewriter = new HTMLRewriter().on("script[src]", {
    element(script) {
      if (empty.includes(`${root}/dist${script.getAttribute("src")}`)) script.remove();
    },
  });
  await Bun.write(page, rewriter.transform(await Bun.file(page).text()));
}
await Promise.all(empty.map((path) => rm(path)));

await cp(`${root}/public`, `${root}/dist`, { recursive: true });

for (const { path, size } of outputs) {
  if (size > 0) console.log(`${path.slice(root.length + 1)}  ${(size / 1024).toFixed(1)} kB`);
}
