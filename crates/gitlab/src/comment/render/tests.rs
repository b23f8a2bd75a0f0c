//! Tests the rendered comment, and that no text can change its structure.

use expect_test::expect;
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};

use super::*;

#[test]
fn warnings_of_a_ready_preview_are_a_collapsed_block() {
    let row = CommentRow {
        warning: Some(
            "dist/_headers:1: Cloudflare drops `this` line\n/close\n@all </pre>".to_owned(),
        ),
        ..CommentRow::new("site", PreviewStatus::Ready)
    };
    let failed = CommentRow { status: PreviewStatus::Failed, ..row.clone() };
    expect!["<details><summary>site has warnings</summary><pre>dist&#47;&#95;headers&#58;1&#58; Cloudflare drops &#96;this&#96; line&#10;&#47;close&#10;&#64;all &#60;&#47;pre&#62;</pre></details>"].assert_eq(body(&[row]).lines().last().unwrap_or_default());
    assert!(!body(&[failed]).contains("has warnings"));
}

fn full(project: &str, status: PreviewStatus) -> CommentRow {
    CommentRow {
        alias_url: Some(format!("https://mr-42-{project}.acme.workers.dev/")),
        version_url: Some(format!("https://0a1b2c3d-{project}.acme.workers.dev/")),
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        time: Some("2026-11-24T12:00:59Z".to_owned()),
        log: Some("https://gitlab.example.com/acme/mono/-/jobs/7".to_owned()),
        pipeline: Some(77),
        ..CommentRow::new(project, status)
    }
}

fn visible(rows: &[CommentRow]) -> String {
    let body = body(rows);
    body.lines().filter(|line| !line.starts_with("<!--")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_comment() {
    let failed = CommentRow {
        alias_url: None,
        version_url: None,
        reason: Some("the build failed:\n/merge `x`".to_owned()),
        ..full("studio", PreviewStatus::Failed)
    };
    let rows = [
        full("website", PreviewStatus::Ready),
        failed,
        CommentRow::new("docs", PreviewStatus::Building),
        CommentRow::new("blog", PreviewStatus::Removed),
        CommentRow {
            alias_url: Some("https://mr-7-wiki.example.workers.dev/".to_owned()),
            ..CommentRow::new("wiki", PreviewStatus::AliasOnly)
        },
        CommentRow::new("shop", PreviewStatus::Undeployed),
        CommentRow::new("a", PreviewStatus::Unaffected),
        CommentRow::new("b", PreviewStatus::Unaffected),
    ];
    expect![[r#"
        <!-- xtask preview v1 -->
        <!-- row {"project":"website","status":"ready","aliasUrl":"https://mr\u002d42\u002dwebsite.acme.workers.dev/","versionUrl":"https://0a1b2c3d\u002dwebsite.acme.workers.dev/","commit":"0123456789abcdef0123456789abcdef01234567","time":"2026\u002d11\u002d24T12:00:59Z","log":"https://gitlab.example.com/acme/mono/\u002d/jobs/7","pipeline":77} -->
        <!-- row {"project":"studio","status":"failed","commit":"0123456789abcdef0123456789abcdef01234567","time":"2026\u002d11\u002d24T12:00:59Z","log":"https://gitlab.example.com/acme/mono/\u002d/jobs/7","reason":"the build failed:\n/merge \u0060x\u0060","pipeline":77} -->
        <!-- row {"project":"docs","status":"building"} -->
        <!-- row {"project":"blog","status":"removed"} -->
        <!-- row {"project":"wiki","status":"aliasOnly","aliasUrl":"https://mr\u002d7\u002dwiki.example.workers.dev/"} -->
        <!-- row {"project":"shop","status":"undeployed"} -->
        <!-- row {"project":"a","status":"unaffected"} -->
        <!-- row {"project":"b","status":"unaffected"} -->
        ### Previews

        [`0123456`](https://gitlab.example.com/acme/mono/-/commit/0123456789abcdef0123456789abcdef01234567) · [pipeline 77](https://gitlab.example.com/acme/mono/-/pipelines/77) · 1 ready, 1 failed, 1 building, 1 not deployed yet, 1 removed, 1 ended · 2026-11-24 12:00 UTC

        | Project | Preview | Status |
        |---|---|---|
        | `website` | [Open preview](https://mr-42-website.acme.workers.dev/) · [this commit](https://0a1b2c3d-website.acme.workers.dev/) | ✅ ready · [log](https://gitlab.example.com/acme/mono/-/jobs/7) |
        | `studio` |  | ❌ failed · [log](https://gitlab.example.com/acme/mono/-/jobs/7) |
        | `docs` |  | ⏳ building |
        | `blog` |  | 🗑️ removed |
        | `wiki` | [Open preview](https://mr-7-wiki.example.workers.dev/) | ⏹️ ended, the address still answers |
        | `shop` |  | not deployed yet |

        <details><summary>studio failed</summary><pre>the build failed&#58;&#10;&#47;merge &#96;x&#96;</pre>Run it on your machine: <code>cargo xtask preview studio</code></details>

        Not affected: `a`, `b`"#]].assert_eq(&body(&rows));
    assert_eq!(state::rows(&body(&rows)), rows);
}

#[test]
fn nothing_changed() {
    expect![[r#"
        ### Previews

        This merge request changes no project.

        Not affected: `a`"#]]
    .assert_eq(&visible(&[CommentRow::new("a", PreviewStatus::Unaffected)]));
}

#[test]
fn text_from_outside() {
    let mut row = full("a|b`@all", PreviewStatus::Failed);
    row.alias_url = Some("https://x.example/)|[y](javascript:alert(1))".to_owned());
    row.version_url = Some("javascript:alert(1)".to_owned());
    row.commit = Some("|`\n/close".to_owned());
    row.time = Some("/approve".to_owned());
    row.log = Some("https://user@evil.example/".to_owned());
    row.reason = Some("x\r/merge\n- @all <img src=x> ~label #1".to_owned());
    expect![[r#"
        ### Previews

        <code>&#124;&#96; &#9166; &#47;c&#8230;</code> · pipeline 77 · 1 failed · `/approve`

        | Project | Preview | Status |
        |---|---|---|
        | <code>a&#124;b&#96;&#64;all</code> | [Open preview](https://x.example/%29%7C%5By%5D%28javascript:alert%281%29%29) | ❌ failed |

        <details><summary>a&#124;b&#96;&#64;all failed</summary><pre>x &#9166; &#47;merge&#10;- &#64;all &#60;img src&#61;x&#62; &#126;label &#35;1</pre>Run it on your machine: <code>cargo xtask preview &#39;a&#124;b&#96;&#64;all&#39;</code></details>"#]].assert_eq(&visible(&[row]));
}

#[test]
fn cuts_reasons_first_in_a_long_comment() {
    let rows: Vec<CommentRow> = (0..50)
        .map(|n| CommentRow {
            reason: Some("é".repeat(5000)),
            ..full(&format!("p{n:02}"), PreviewStatus::Failed)
        })
        .chain([full("ready", PreviewStatus::Ready)])
        .collect();
    let all = within(&rows, MAX_BODY_LENGTH);
    assert_eq!(state::rows(&all).len(), 51);
    let shorter = within(&rows, 200_000);
    assert!(shorter.len() <= 200_000);
    assert_eq!(state::rows(&shorter).len(), 51);
    let few = within(&rows, 20_000);
    assert!(few.len() <= 20_000, "{}", few.len());
    let kept = state::rows(&few);
    assert!(kept.len() > 5 && kept.iter().all(|row| row.status == PreviewStatus::Failed));
    assert!(few.contains(&format!("{} more projects do not fit", 51 - kept.len())));
    // What was cut is not cut again.
    assert_eq!(within(&state::rows(&shorter), 200_000), shorter);
    // Rows without reasons are left out too.
    let many: Vec<CommentRow> =
        (0..100).map(|n| full(&format!("p{n:02}"), PreviewStatus::Ready)).collect();
    let few = within(&many, 20_000);
    assert!(few.len() <= 20_000 && few.contains("more projects do not fit"));
}

/// Returns the structure of `body`: everything except for text and URLs.
fn structure(body: &str) -> Vec<String> {
    let events = Parser::new_ext(body, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut found: Vec<String> = Vec::new();
    for event in events {
        found.push(match event {
            Event::Start(Tag::Link { .. }) => "link".to_owned(),
            Event::Start(tag) => format!("<{tag:?}>"),
            Event::End(tag) => format!("</{tag:?}>"),
            Event::Html(html) if html.starts_with("<!-- row ") => "row".to_owned(),
            Event::Html(html) if html.starts_with("<details>") => {
                let tags = ["<details>", "<summary>", "</summary>", "<pre>", "</pre>", "<code>"];
                let ends = ["</code>", "</details>"];
                let tags = tags.into_iter().chain(ends);
                let text = tags.fold(html.to_string(), |text, tag| text.replacen(tag, "", 1));
                assert!(!text.contains(['<', '>', '@', '`', '/', '|', '\\', '~']), "{text}");
                "failure".to_owned()
            }
            Event::Html(html) => html.to_string(),
            Event::InlineHtml(html) if &*html == "<code>" => "code".to_owned(),
            Event::InlineHtml(html) if &*html == "</code>" => continue,
            Event::InlineHtml(html) => panic!("{html}"),
            Event::Code(_) => "code".to_owned(),
            // Entities split text. Nothing else may be within `<code>`.
            Event::Text(_) if found.last().is_some_and(|last| last == "code" || last == "text") => {
                continue;
            }
            Event::Text(_) => "text".to_owned(),
            other => format!("{other:?}"),
        });
    }
    found
}

fn any_text() -> impl Strategy<Value = String> {
    let nasty = "[`|\\\\@/<>&!#*_~:$%{}\\[\\]()\\-\r\n\u{2028}\u{202e}\t a-c0-2é]{0,24}";
    prop_oneof![nasty.boxed(), "(?s:.{0,24})".boxed(), "-->\n/merge|`x`".boxed()]
}

fn any_url() -> impl Strategy<Value = String> {
    prop_oneof![any_text(), any_text().prop_map(|text| format!("https://a.example/{text}"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn text_never_changes_the_structure(
        project in any_text(), reason in any_text(), commit in any_text(), time in any_text(),
        alias_url in any_url(), version_url in any_url(), log in any_url(), other in any_text(),
    ) {
        let outside = CommentRow {
            project: format!("p{project}"),
            reason: Some(format!("r{reason}")),
            commit: Some(format!("c{commit}")),
            time: Some(format!("t{time}")),
            alias_url: Some(alias_url),
            version_url: Some(version_url),
            log: Some(log),
            ..CommentRow::new("", PreviewStatus::Failed)
        };
        let rows = [outside.clone(), CommentRow::new(format!("u{other}"), PreviewStatus::Unaffected)];
        let text = body(&rows);
        prop_assert_eq!(state::rows(&text), rows);
        let hidden = text.contains(['\r', '\u{2028}', '\u{202e}']);
        prop_assert!(!hidden);
        for line in text.lines() {
            let ours = ["<!-- ", "### Previews", "| ", "|---", "<details>", "Not affected: "];
            let is_summary = line.contains("1 failed");
            prop_assert!(line.is_empty() || is_summary || ours.iter().any(|start| line.starts_with(start)), "{}", line);
            if line.starts_with("| ") {
                prop_assert_eq!(line.matches('|').count(), 4, "{}", line);
            }
        }
        // The same row with harmless text.
        let plain = |url: &Option<String>| {
            let url = url.as_deref().unwrap_or_default();
            address(url).map(|_| "https://plain.example/".to_owned())
        };
        let calm = CommentRow {
            project: "p".to_owned(),
            reason: Some("r".to_owned()),
            commit: Some("c".to_owned()),
            time: Some("t".to_owned()),
            alias_url: plain(&outside.alias_url),
            version_url: plain(&outside.version_url),
            log: outside.log.as_deref().and_then(address).map(|_| "https://plain.example/".to_owned()),
            ..outside
        };
        let calm = body(&[calm, CommentRow::new("u", PreviewStatus::Unaffected)]);
        prop_assert_eq!(structure(&text), structure(&calm), "{}", text);
    }
}
