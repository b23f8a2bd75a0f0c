import { expect, test } from "bun:test";

import worker from "./worker.ts";

const get = (path: string) => worker.fetch(new Request(`http://localhost${path}`));

test("answers", async () => {
  expect(await get("/").text()).toBe("{{name}}\n");
  expect(await get("/health").json()).toEqual({ ok: true });
});

test("knows what it does not have", () => {
  expect(get("/nothing").status).toBe(404);
});
