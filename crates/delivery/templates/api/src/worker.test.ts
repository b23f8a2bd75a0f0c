import { expect, test } from "bun:test";

import worker from "./worker.ts";

const get = (path: string) => worker.request(path, {}, { GREETING: "Hello" });

test("answers with JSON", async () => {
  expect(await (await get("/health")).json()).toEqual({ ok: true });
  expect(await (await get("/greetings/Ada")).json()).toEqual({ text: "Hello, Ada" });
});

test("names the path that does not exist", async () => {
  const response = await get("/nothing");
  expect(response.status).toBe(404);
  expect(await response.json()).toEqual({ error: "there is nothing at /nothing" });
});
