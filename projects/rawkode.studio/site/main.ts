import type { Health, Pipeline } from "../src/api.ts";

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}`);
  return found;
}

function show(id: string, text: string): void {
  element(id).textContent = text;
}

async function ask<Body>(path: string): Promise<Body> {
  const response = await fetch(path, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return (await response.json()) as Body;
}

async function health(): Promise<void> {
  const start = performance.now();
  const body = await ask<Health>("/api/health");
  show("took", `${Math.max(1, Math.round(performance.now() - start))} ms`);
  show("version", body.version || "not numbered here");
  show("tag", body.tag || "none");
  show("health-json", JSON.stringify(body, null, 2));
  show("environment", body.environment);
  element("environment").hidden = false;
  show("state", "On air");
  element("sign").dataset["state"] = "live";
}

function offAir(reason: unknown): void {
  show("state", "Off air");
  element("sign").dataset["state"] = "off";
  for (const id of ["version", "tag", "took"]) show(id, "no answer");
  show("health-json", String(reason));
}

async function pipeline(): Promise<void> {
  const { steps } = await ask<Pipeline>("/api/pipeline");
  element("steps").replaceChildren(
    ...steps.map(({ name, does }) => {
      const item = document.createElement("li");
      const title = document.createElement("h3");
      const text = document.createElement("p");
      title.textContent = name;
      text.textContent = does;
      item.append(title, text);
      return item;
    }),
  );
}

await Promise.all([
  health().catch(offAir),
  pipeline().catch((reason: unknown) => {
    const item = document.createElement("li");
    item.textContent = `The steps could not be read: ${String(reason)}`;
    element("steps").replaceChildren(item);
  }),
]);
