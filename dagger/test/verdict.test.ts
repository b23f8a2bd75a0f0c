import { describe, expect, test } from "bun:test";

import { code, comment } from "../cloudflare/src/comment.js";
import type { DeploymentRecord } from "../cloudflare/src/record.js";
import { urls, verdict } from "../cloudflare/src/verdict.js";

const lines = (...entries: unknown[]) =>
  entries.map((entry) => (typeof entry === "string" ? entry : JSON.stringify(entry))).join("\n");
const SESSION = { type: "wrangler-session", version: 1, wrangler_version: "4.164.0", command_line_args: ["deploy"] };
const DEPLOY = {
  type: "deploy",
  worker_name: "shop",
  version_id: "v1",
  targets: ["https://shop.acme.workers.dev", "schedule: 0 * * * *"],
};
const UPLOAD = {
  type: "version-upload",
  worker_name: "shop",
  version_id: "v2",
  preview_url: "https://12345678-shop.acme.workers.dev",
  preview_alias_url: "https://mr-42-shop.acme.workers.dev",
};

describe("success", () => {
  test("of a deployment", () => {
    expect(verdict("deploy", 0, lines(SESSION, "not json", "[1]", "", DEPLOY))).toEqual({
      workerName: "shop",
      versionId: "v1",
      urls: ["https://shop.acme.workers.dev"],
      targets: DEPLOY.targets,
      wrangler: "4.164.0",
    });
  });

  test("of a preview", () => {
    expect(verdict("preview", 0, lines(SESSION, UPLOAD))).toEqual({
      workerName: "shop",
      versionId: "v2",
      urls: ["https://mr-42-shop.acme.workers.dev", "https://12345678-shop.acme.workers.dev"],
      previewUrl: "https://12345678-shop.acme.workers.dev",
      aliasUrl: "https://mr-42-shop.acme.workers.dev",
      targets: [],
      wrangler: "4.164.0",
    });
  });
});

test.each([
  ["nothing written", "deploy", 0, "", "names no version"],
  ["a dry run", "deploy", 0, lines(SESSION, { ...DEPLOY, version_id: null }), "names no version"],
  ["an entry of the other command", "deploy", 0, lines(SESSION, UPLOAD), "names no version"],
  ["an entry of the other command", "preview", 0, lines(SESSION, DEPLOY), "names no version"],
  ["a strict refusal", "deploy", 1, lines(SESSION, { ...DEPLOY, version_id: null }), "wrangler exited with 1"],
  [
    "an API error",
    "deploy",
    1,
    lines(SESSION, { type: "command-failed", code: 10000, message: "Denied" }),
    "exited with 1: Denied",
  ],
  ["a version, then an error", "deploy", 1, lines(SESSION, DEPLOY), "wrangler exited with 1"],
  ["a signal", "deploy", 143, lines(SESSION), "wrangler exited with 143"],
  [
    "no preview URL",
    "preview",
    0,
    lines(SESSION, { ...UPLOAD, preview_url: undefined, preview_alias_url: undefined }),
    "preview_urls",
  ],
] as const)("failure: %s (%s, %d)", (_, command, exitCode, output, error) => {
  expect(verdict(command, exitCode, output).error).toContain(error);
});

test("a failed run keeps what it made", () => {
  expect(verdict("deploy", 1, lines(SESSION, DEPLOY))).toMatchObject({ versionId: "v1", workerName: "shop" });
});

test("targets become addresses", () => {
  const targets = [
    "https://x.acme.workers.dev",
    "www.example.com (custom domain)",
    "old.example.com (custom domain) [production: disabled, previews: enabled]",
    "schedule: 0 * * * *",
    "example.com/* (zone name: example.com)",
  ];
  expect(urls(targets)).toEqual(["https://x.acme.workers.dev", "https://www.example.com/"]);
});

describe("the comment", () => {
  const record: DeploymentRecord = {
    ...verdict("preview", 0, lines(SESSION, UPLOAD)),
    schema: 1,
    command: "preview",
    environment: "",
    nonce: "n",
    exitCode: 0,
    tag: "abc",
    message: "Fix | the\n/merge `x` @all",
    alias: "mr-42",
    log: "",
  };

  test("names the addresses", () => {
    expect(comment(record)).toBe(
      [
        "### Preview of `shop` is ready",
        "",
        "| | |",
        "| --- | --- |",
        "| Preview | <https://mr-42-shop.acme.workers.dev> |",
        "| This version | <https://12345678-shop.acme.workers.dev> |",
        "| Version | `v2` |",
        "| Tag | `abc` |",
        "| Message | `` Fix \\| the /merge `x` @all `` |",
        "",
      ].join("\n"),
    );
  });

  test("says why there is none", () => {
    const failed = { ...record, ...verdict("preview", 1, ""), error: "wrangler exited with 1: <b>no</b>" };
    expect(comment(failed)).toContain("| Reason | `wrangler exited with 1: <b>no</b>` |");
    expect(comment(failed)).toStartWith("### Preview of `preview` failed");
  });

  test("text from outside stays in its cell", () => {
    expect(code("a\r\n/close\u0085\u2028b\u0000\u202e")).toBe("`a /close b`");
    expect(code("``` x `")).toBe("```` ``` x ` ````");
    expect(code(" \n")).toBe("–");
    expect(code("x".repeat(300))).toHaveLength(203);
    expect(comment({ ...record, previewUrl: "javascript:alert(1)" })).toContain("`javascript:alert(1)`");
  });
});
