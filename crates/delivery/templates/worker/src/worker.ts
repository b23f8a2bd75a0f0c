export default {
  fetch(request: Request): Response {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/":
        return new Response("{{name}}\n");
      // What `cargo xtask deploy` asks for before it calls a deployment good.
      case "/health":
        return Response.json({ ok: true });
      default:
        return new Response("Not found\n", { status: 404 });
    }
  },
};
