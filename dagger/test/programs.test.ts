// The programs that other tests run, as they run them.
import { expect, test } from "bun:test";
import { join } from "node:path";

import { modules, objects } from "./modules.js";

async function run(program: string, input = ""): Promise<unknown> {
  const stdin = new Blob([input]);
  const child = Bun.spawn([process.execPath, join(import.meta.dir, program)], {
    stdin,
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  return JSON.parse(text);
}

test("signatures", async () => {
  const printed = (await run("signatures.ts")) as Record<string, unknown>;
  expect(Object.keys(printed)).toEqual(modules().map(({ dir }) => dir));
  for (const module of modules()) {
    expect(printed[module.dir]).toEqual(objects(module));
  }
  expect(printed["projects/rawkode.academy/website"]).toMatchObject([
    { name: "Website", functions: { build: { positional: [], optional: ["source"], returns: "Directory" } } },
  ]);
});

test("conformance", async () => {
  const input = {
    arguments: [{ command: "deploy" }],
    verdicts: [{ command: "deploy", exitCode: 0, output: "" }],
  };
  expect(await run("conformance.ts", JSON.stringify(input))).toEqual({
    arguments: [
      [
        ...["deploy", "--autoconfig=false", "--strict", "--no-x-provision"],
        "--env-file=/dev/null",
      ],
    ],
    verdicts: [expect.objectContaining({ error: "wrangler exited with 0 but its output file names no version" })],
  });
});
