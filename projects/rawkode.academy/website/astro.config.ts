import sitemap from "@astrojs/sitemap";
import { defineConfig } from "astro/config";
import d2 from "./integrations/d2.ts";

export default defineConfig({
  site: "https://rawkode.academy",
  output: "static",
  trailingSlash: "always",
  // Line breaks in the text of a page are spaces between words, as in HTML.
  compressHTML: true,
  build: {
    // Style sheets stay files, so that the content security policy needs no 'unsafe-inline'.
    inlineStylesheets: "never",
  },
  // Scripts stay files too, for the same reason.
  vite: { build: { assetsInlineLimit: 0 } },
  integrations: [d2(), sitemap()],
});
