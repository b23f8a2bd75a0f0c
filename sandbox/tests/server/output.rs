//! Tests the output of Workers: their console and their uncaught exceptions.

use reqwest::Method;
use serde_json::json;

use crate::bindings::deploy;
use crate::previews::wrangler;
use crate::server::wait::Wait;
use crate::server::{ACCOUNT, Server, TOKEN, multipart};

/// Waits until the Workers' output holds a text, and returns it.
async fn output(server: &Server, text: &str) -> String {
    let path = server.dir.join("logs/workers.log");
    let wait = Wait::begin();
    loop {
        let output = std::fs::read_to_string(&path).unwrap_or_default();
        if output.contains(text) {
            return output;
        }
        wait.check(format_args!("no {text:?} in {output}"));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Returns the lines of a log without their times.
fn without_times(output: &str) -> Vec<String> {
    let time =
        |line: &str| line.starts_with("20").then(|| line.split_once(' ')).flatten().is_some();
    let cut =
        |line: &str| line.split_once(' ').map_or_else(String::new, |(_, rest)| rest.to_owned());
    output.lines().map(|line| if time(line) { cut(line) } else { line.to_owned() }).collect()
}

#[tokio::test]
async fn a_console_is_logged_with_the_name_of_its_worker() {
    let server = Server::new("console");
    let code = "export default { fetch() {
        console.log('hello', { a: 1 }, 2); console.error('bad\\nthing'); return new Response('ok');
    } };";
    deploy(&server, "talker", code, json!([])).await;
    assert_eq!(server.text("talker.localhost", "/").await, "ok");
    let output = output(&server, "thing").await;
    assert_eq!(
        without_times(&output),
        ["talker log hello {\"a\":1} 2", "talker error bad", "    thing"]
    );
}

#[tokio::test]
async fn an_exception_is_logged_and_shown_with_its_place_in_the_sources() {
    let server = Server::new("exception");
    // `a = 1` of line 3, column 5 of the source is line 1, column 46 of the code.
    let code = "export default { fetch(request) { if (true) { throw new TypeError('no <stock>'); } } };\n\
                //# sourceMappingURL=worker.js.map";
    let map = json!({
        "version": 3, "sources": ["../src/shop.ts"], "names": [],
        // One segment: column 46 of the code is line 3, column 5 of the source.
        "mappings": "8CAEI",
    })
    .to_string();
    let metadata =
        json!({ "main_module": "worker.js", "compatibility_date": "2026-01-01" }).to_string();
    let parts = [
        ("metadata", "application/json", metadata.as_str()),
        ("worker.js", "application/javascript+module", code),
        ("worker.js.map", "application/source-map", map.as_str()),
    ];
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/shop");
    let (status, answer) = multipart(server.request(Method::PUT, &path, TOKEN), &parts).await;
    assert_eq!(status, 200, "{answer}");
    let url = format!("http://127.0.0.1:{}/buy?card=1", server.port);
    let ask = |accept: &str| {
        let host = format!("shop.localhost:{}", server.port);
        server.client.get(&url).header("host", host).header("accept", accept).send()
    };
    let text = ask("*/*").await.expect("an answer");
    assert_eq!(text.status(), 500);
    let wanted = "shop: Uncaught TypeError: no <stock>\n    at Object.fetch (src/shop.ts:3:5)\n";
    assert_eq!(text.text().await.expect("text"), wanted);
    let page = ask("text/html").await.expect("an answer").text().await.expect("text");
    assert!(page.contains("<h1>shop threw an exception</h1>"), "{page}");
    assert!(
        page.contains("TypeError: no &lt;stock&gt;\n    at Object.fetch (src/shop.ts:3:5)"),
        "{page}"
    );
    let output = output(&server, "TypeError").await;
    assert_eq!(
        without_times(&output)[..2],
        [
            "shop error GET /buy: Uncaught TypeError: no <stock>",
            "    at Object.fetch (src/shop.ts:3:5)"
        ]
    );
}

/// The exception of the Worker that was called, and of the one that called it.
#[tokio::test]
async fn an_exception_names_the_worker_that_threw() {
    let server = Server::new("blame");
    let throws = "export default { fetch() { throw new Error('deep'); } };";
    let calls = "export default { fetch: (request, env) => env.OTHER.fetch(request) };";
    deploy(&server, "deep", throws, json!([])).await;
    let binding = json!([{ "name": "OTHER", "type": "service", "service": "deep" }]);
    deploy(&server, "top", calls, binding).await;
    let answer = server.fetch("top.localhost", "/").await;
    assert_eq!(answer.status(), 500);
    let text = answer.text().await.expect("text");
    assert!(
        text.contains("deep: Uncaught Error: deep\n    at Object.fetch (worker.js:1:34)"),
        "{text}"
    );
}

/// Deploys with the pinned wrangler, which makes the source map.
#[tokio::test(flavor = "multi_thread")]
async fn exceptions_of_all_handlers_have_their_place_in_the_sources() {
    let server = Server::new("handlers");
    let site = server.dir.join("sites/handlers");
    std::fs::create_dir_all(site.join("src")).expect("a folder");
    let source = "import { DurableObject } from 'cloudflare:workers';

interface Env { ROOM: DurableObjectNamespace<Room>; JOBS: Queue }

export class Room extends DurableObject {
  async fetch(): Promise<Response> {
    throw new Error('object');
  }
  async wake(): Promise<void> { await this.ctx.storage.setAlarm(Date.now()); }
  async alarm(): Promise<void> {
    throw new Error('alarm');
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const room = env.ROOM.getByName('a');
    const { pathname } = new URL(request.url);
    if (pathname === '/object') return room.fetch('http://room/');
    await room.wake();
    await env.JOBS.send('job');
    return new Response('fine');
  },
  async queue(): Promise<void> {
    throw new Error('queue');
  },
  async scheduled(): Promise<void> {
    throw new Error('scheduled');
  },
};
";
    std::fs::write(site.join("src/index.ts"), source).expect("a file");
    let config = json!({
        "name": "handlers", "main": "src/index.ts", "compatibility_date": "2026-10-01", "upload_source_maps": true,
        "durable_objects": { "bindings": [{ "name": "ROOM", "class_name": "Room" }] },
        "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Room"] }],
        "queues": {
            "producers": [{ "binding": "JOBS", "queue": "jobs" }],
            "consumers": [{ "queue": "jobs", "max_retries": 0, "max_batch_timeout": 0 }],
        },
        "triggers": { "crons": ["0 0 1 1 *"] },
    });
    std::fs::write(site.join("wrangler.json"), config.to_string()).expect("a file");
    for arguments in [&["queues", "create", "jobs"][..], &["deploy", "--no-x-provision"]] {
        let (output, _) = wrangler(&server, &site, arguments);
        assert!(output.status.success(), "{output:?}");
    }
    let response = server.fetch("handlers.localhost", "/object").await;
    assert_eq!(response.status(), 500);
    let text = response.text().await.expect("text");
    assert!(text.contains("Error: object\n    at Room.fetch (src/index.ts:7:11)"), "{text}");
    assert_eq!(server.text("handlers.localhost", "/").await, "fine");
    let url = format!("http://127.0.0.1:{}/__sandbox/cron/handlers", server.port);
    let request = server.client.post(url).body("{}").bearer_auth(TOKEN);
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    for wanted in [
        "handlers error Room: Uncaught Error: alarm\n    at Room.alarm (src/index.ts:11:11)",
        "handlers error queue jobs: Uncaught Error: queue\n    at Object.queue (src/index.ts:25:11)",
        "handlers error cron 0 0 1 1 *: Uncaught Error: scheduled\n    at Object.scheduled (src/index.ts:28:11)",
    ] {
        output(&server, wanted).await;
    }
}

/// Errors of methods called over RPC, of a Worker and of a Durable Object. workerd gives them to the caller without
/// their stack.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_methods_have_their_place_in_the_worker_that_threw() {
    let server = Server::new("rpc");
    let write = |name: &str, source: &str, config: serde_json::Value| {
        let site = server.dir.join("sites").join(name);
        std::fs::create_dir_all(site.join("src")).expect("a folder");
        std::fs::write(site.join("src/index.ts"), source).expect("a file");
        let mut config = config;
        config["name"] = json!(name);
        config["main"] = json!("src/index.ts");
        config["compatibility_date"] = json!("2026-10-01");
        config["upload_source_maps"] = json!(true);
        std::fs::write(site.join("wrangler.json"), config.to_string()).expect("a file");
        let (output, _) = wrangler(&server, &site, &["deploy"]);
        assert!(output.status.success(), "{output:?}");
    };
    let calc = "import { DurableObject, RpcTarget, WorkerEntrypoint } from 'cloudflare:workers';

class Cursor extends RpcTarget {
  next(): number { throw new RangeError('no rows'); }
}

class OutOfStock extends Error { override name = 'OutOfStock'; }

export class Calc extends WorkerEntrypoint {
  #left = 1;
  add(count: number): number {
    if (count < 0) throw new TypeError('negative count');
    return count + this.#left;
  }
  async order(): Promise<void> {
    await Promise.resolve();
    throw new OutOfStock('empty shelf');
  }
  open(): Cursor { return new Cursor(); }
  guarded(): string {
    try { return String(this.add(-1)); } catch { return 'fine'; }
  }
}

export class Room extends DurableObject {
  join(): void { throw new Error('the room is full'); }
}

export default {
  async fetch(_: Request, env: { ROOM: DurableObjectNamespace<Room> }): Promise<Response> {
    await env.ROOM.getByName('a').join();
    return new Response('joined');
  },
};
";
    let front = "import type { Calc } from '../../calc/src/index';

export default {
  async fetch(request: Request, env: { CALC: Service<Calc>; ROOMS: Fetcher }): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === '/room') return env.ROOMS.fetch(request);
    if (pathname === '/order') await env.CALC.order();
    if (pathname === '/open') await (await env.CALC.open()).next();
    if (pathname === '/add') await env.CALC.add(-1);
    if (pathname === '/caught') return env.CALC.add(-1).then(String, ({ message }) => new Response(message));
    return new Response(`${await env.CALC.add(1)} ${await env.CALC.guarded()}`);
  },
};
";
    let migrations = json!([{ "tag": "v1", "new_sqlite_classes": ["Room"] }]);
    let rooms = json!({ "bindings": [{ "name": "ROOM", "class_name": "Room" }] });
    write("calc", calc, json!({ "durable_objects": rooms, "migrations": migrations }));
    let services = json!([
        { "binding": "CALC", "service": "calc", "entrypoint": "Calc" },
        { "binding": "ROOMS", "service": "calc" },
    ]);
    write("front", front, json!({ "services": services }));
    assert_eq!(server.text("front.localhost", "/").await, "2 fine");
    assert_eq!(server.text("front.localhost", "/caught").await, "negative count");
    for (path, wanted) in [
        (
            "/add",
            "front error GET /add: Uncaught TypeError: negative count
    at Calc.add (src/index.ts:12:26) in calc
    at async Object.fetch (src/index.ts:9:30)",
        ),
        (
            "/order",
            "front error GET /order: Uncaught OutOfStock: empty shelf
    at Calc.order (src/index.ts:17:11) in calc
    at async Object.fetch (src/index.ts:7:32)",
        ),
        (
            "/open",
            "front error GET /open: Uncaught RangeError: no rows
    at Cursor.next (src/index.ts:4:26) in calc
    at async Object.fetch (src/index.ts:8:31)",
        ),
        (
            "/room",
            "calc error GET /room: Uncaught Error: the room is full
    at Room.join (src/index.ts:26:24)
    at async Object.fetch (src/index.ts:31:5)",
        ),
    ] {
        assert_eq!(server.fetch("front.localhost", path).await.status(), 500, "{path}");
        output(&server, wanted).await;
    }
    // An error that its caller catches, and the reports themselves, are not in the output.
    let output = output(&server, "the room is full").await;
    assert!(!output.contains("sandbox-rpc") && !output.contains("/caught"), "{output}");
}
