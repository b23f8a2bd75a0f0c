import { Hono } from "hono";

interface Env {
  GREETING: string;
}

const app = new Hono<{ Bindings: Env }>();

// `cargo xtask deploy` requests it: a version that does not answer does not stay live.
app.get("/health", (context) => context.json({ ok: true }));

app.get("/greetings/:name", (context) => context.json({ text: `${context.env.GREETING}, ${context.req.param("name")}` }));

app.notFound((context) => context.json({ error: `there is nothing at ${context.req.path}` }, 404));

app.onError((error, context) => {
  console.error(error);
  return context.json({ error: "internal error" }, 500);
});

export default app;
