//! Tests the errors of the API, their envelope and their codes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{ACCOUNT, Server, TOKEN, answer, code, multipart};

#[tokio::test]
async fn tokens_and_accounts() {
    let server = Server::new("tokens");
    let other = format!("/accounts/{}/workers/subdomain", "f".repeat(32));
    let mixed = format!("/accounts/{}/workers/services/{ACCOUNT}", "f".repeat(32));
    for (path, token, wanted) in [
        ("/user", "wrong", (403, 10_000)),
        ("/user/tokens/verify", "wrong", (401, 1000)),
        ("/user", "two words", (400, 6003)),
        ("/user", "", (400, 6003)),
        (other.as_str(), TOKEN, (403, 10_000)),
        (mixed.as_str(), TOKEN, (403, 10_000)),
    ] {
        let (status, refusal) = answer(server.request(Method::GET, path, token)).await;
        assert_eq!((status, code(&refusal)), wanted, "{path} {token}");
    }
    let url = format!("http://127.0.0.1:{}/client/v4/user", server.port);
    let (status, refusal) = answer(server.client.get(url)).await;
    assert_eq!((status, code(&refusal)), (400, 9106));
    assert_eq!(server.get("/user").await.0, 200);
}

#[tokio::test]
async fn missing_resources() {
    let server = Server::new("absent");
    let account = format!("/accounts/{ACCOUNT}/workers");
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    for (path, wanted) in [
        ("services/none", (404, 10_090)),
        ("scripts/none/deployments", (404, 10_007)),
        ("scripts/none/versions", (404, 10_007)),
        ("scripts/none/secrets", (404, 10_007)),
        ("scripts/none/settings", (404, 10_007)),
        ("workers/none", (404, 10_007)),
        ("scripts/site/versions/00000000-0000-4000-8000-000000000000", (404, 100_146)),
        ("scripts/site/deployments/00000000-0000-4000-8000-000000000000", (404, 10_336)),
        ("scripts/site/no/such/route", (501, 7000)),
        ("no/such/route", (501, 7000)),
        ("services/none/", (404, 10_090)),
    ] {
        let (status, refusal) = server.get(&format!("{account}/{path}")).await;
        assert_eq!((status, code(&refusal)), wanted, "{path}");
    }
    let (status, refusal) = server.upload("none", "hello", true, json!({})).await;
    assert_eq!((status, code(&refusal)), (404, 10_007), "a version needs its Worker");
    let (status, refusal) = server.send(Method::PATCH, "/user", json!({})).await;
    assert_eq!((status, code(&refusal)), (501, 7000), "another method");
}

#[tokio::test]
async fn names_aliases_and_bodies() {
    let server = Server::new("names");
    let script = format!("/accounts/{ACCOUNT}/workers/scripts");
    let metadata = [("metadata", "application/json", "{\"main_module\": \"a.js\"}")];
    for (name, wanted) in [("Bad_Name", 10_016), ("a-", 10_016), ("-a", 10_016), ("site", 10_021)] {
        let request = server.request(Method::PUT, &format!("{script}/{name}"), TOKEN);
        let (status, refusal) = multipart(request, &metadata).await;
        assert_eq!((status, code(&refusal)), (400, wanted), "{name}: {refusal}");
    }
    let request = server.request(Method::PUT, &format!("{script}/site"), TOKEN);
    let request = request.header("content-type", "application/javascript");
    let (status, refusal) = answer(request.body("addEventListener('fetch', () => {})")).await;
    assert_eq!((status, code(&refusal)), (501, 7000), "without parts: {refusal}");
    let request = server.request(Method::PUT, &format!("{script}/site"), TOKEN);
    let old_format = [("metadata", "application/json", "{\"body_part\": \"a.js\"}")];
    let (status, refusal) = multipart(request, &old_format).await;
    assert_eq!((status, code(&refusal)), (501, 7000), "{refusal}");
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    for alias in ["MR_42!", "42", "", &"a".repeat(60)] {
        let annotations = json!({ "workers/alias": alias });
        let (status, refusal) = server.upload("site", "hello", true, annotations).await;
        assert_eq!((status, code(&refusal)), (400, 10_021), "{alias}");
    }
    let (status, refusal) = answer(
        server.request(Method::POST, &format!("{script}/site/deployments"), TOKEN).body("{"),
    )
    .await;
    assert_eq!((status, code(&refusal)), (400, 10_021));
}

#[tokio::test]
async fn deployments_of_unknown_versions_or_wrong_shares() {
    let server = Server::new("shares");
    assert_eq!(server.upload("site", "hello", false, json!({})).await.0, 200);
    let path = format!("/accounts/{ACCOUNT}/workers/scripts/site/deployments");
    let (_, live) = server.get(&path).await;
    let id = &live["result"]["deployments"][0]["versions"][0]["version_id"];
    let (_, second) = server.upload("site", "second", true, json!({})).await;
    let second = &second["result"]["id"];
    let deployment = |shares: &[(&Value, f64)]| {
        let share = |(id, share): &(&Value, f64)| json!({ "version_id": id, "percentage": share });
        let versions: Vec<Value> = shares.iter().map(share).collect();
        json!({ "strategy": "percentage", "versions": versions })
    };
    let none = json!("none");
    for (shares, wanted) in [
        (vec![(id, 50.0)], 400),
        (vec![(id, 150.0), (second, -50.0)], 400),
        (vec![(id, 50.0), (id, 50.0)], 400),
        (vec![], 400),
        (vec![(&none, 100.0)], 404),
        (vec![(id, 10.0), (second, 90.0)], 200),
        (vec![(id, 100.0)], 200),
    ] {
        let (status, response) = server.send(Method::POST, &path, deployment(&shares)).await;
        assert_eq!(status, wanted, "{shares:?}: {response}");
    }
}

#[tokio::test]
async fn assets_without_their_hash_session_or_size() {
    let server = Server::new("assets");
    let hash = "0".repeat(32);
    let script = format!("/accounts/{ACCOUNT}/workers/scripts/site");
    let path = format!("{script}/assets-upload-session");
    let manifest =
        |hash: &str, size: u64| json!({ "manifest": { "/a.txt": { "hash": hash, "size": size } } });
    let (_, session) = server.send(Method::POST, &path, manifest(&hash, 5)).await;
    let jwt = session["result"]["jwt"].as_str().expect("a token");
    let (claims, signature) = jwt.rsplit_once('.').expect("a signature");
    // Another first digit, whatever it was.
    let digit = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{claims}.{digit}{}", &signature[1..]);
    let other = "1".repeat(32);
    for (jwt, hash, wanted, why) in [
        (jwt, hash.as_str(), 400, "the content has another hash"),
        (jwt, other.as_str(), 400, "not in the manifest"),
        (TOKEN, hash.as_str(), 401, "the account's token is no session"),
        (forged.as_str(), hash.as_str(), 401, "a forged session"),
    ] {
        assert_eq!(server.asset(jwt, hash, "aGVsbG8=").await.0, wanted, "{why}");
    }
    let metadata = json!({ "assets": { "jwt": jwt } }).to_string();
    let request = server.request(Method::PUT, &script, TOKEN);
    let (status, refusal) = multipart(request, &[("metadata", "", &metadata)]).await;
    assert_eq!((status, code(&refusal)), (400, 10_021), "an unfinished upload");
    assert_eq!(server.get(&format!("{script}/deployments")).await.0, 404, "deploys nothing");
    for (hash, size, wanted) in
        [(hash.as_str(), 26 * 1024 * 1024, 413), ("../../../../etc/passwd..........", 5, 400)]
    {
        assert_eq!(server.send(Method::POST, &path, manifest(hash, size)).await.0, wanted);
    }
}
