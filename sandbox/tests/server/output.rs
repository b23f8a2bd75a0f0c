//! Tests the output of Workers: their console and their uncaught exceptions.

use reqwest::Method;
use serde_json::json;

use crate::bindings::deploy;
use crate::previews::wrangler;
use crate::server::{ACCOUNT, Server, TOKEN, multipart};

/// Waits until the Workers' output holds a text, and returns it.
async fn output(server: &Server, text: &str) -> String {
    let path = server.dir.join("logs/workers.log");
    for _ in 0..600 {
        let output = std::fs::read_to_string(&path).unwrap_or_default();
        if output.contains(text) {
            return output;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no {text:?} in {}", std::fs::read_to_string(&path).unwrap_or_default());
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
