//! Renders comments as HTML. Supports the part of GitLab's Markdown that comments use
//! (<https://docs.gitlab.com/user/markdown/>), and removes scripts.

use pulldown_cmark::{
    CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, TextMergeStream, html::push_html,
};

use crate::serve::error_pages::escape;

/// The HTML tags that a comment may use. Their only attribute is `open`.
const TAGS: [&str; 18] = [
    "details", "summary", "br", "hr", "sub", "sup", "kbd", "b", "i", "em", "strong", "code", "pre",
    "del", "ins", "p", "div", "span",
];

/// Renders a comment as HTML.
#[must_use]
pub fn render(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM;
    let mut html = String::new();
    let mut block: Option<String> = None;
    // URLs inside links, images and code blocks stay text.
    let mut depth = 0_usize;
    let mut events = Vec::new();
    for event in TextMergeStream::new(Parser::new_ext(markdown, options)) {
        match event {
            Event::Start(Tag::HtmlBlock) => block = Some(String::new()),
            Event::End(TagEnd::HtmlBlock) => {
                events.push(Event::Html(sanitize_html(&block.take().unwrap_or_default()).into()));
            }
            Event::Html(text) => match &mut block {
                Some(block) => block.push_str(&text),
                None => events.push(Event::Html(sanitize_html(&text).into())),
            },
            Event::InlineHtml(text) => events.push(Event::InlineHtml(sanitize_html(&text).into())),
            Event::Start(tag) => {
                depth += usize::from(disables_autolinks(&tag));
                events.push(Event::Start(sanitize_link(tag)));
            }
            Event::End(tag) => {
                let is_closing = matches!(tag, TagEnd::Link | TagEnd::Image | TagEnd::CodeBlock);
                depth -= usize::from(is_closing);
                events.push(Event::End(tag));
            }
            Event::Text(text) if depth == 0 => autolink(&text, &mut events),
            event => events.push(event),
        }
    }
    push_html(&mut html, events.into_iter());
    html
}

/// Returns whether URLs inside this tag stay text.
fn disables_autolinks(tag: &Tag<'_>) -> bool {
    matches!(tag, Tag::Link { .. } | Tag::Image { .. } | Tag::CodeBlock(_))
}

/// Removes the URL of a link or image, unless it is HTTP, mail or relative.
fn sanitize_link(tag: Tag<'_>) -> Tag<'_> {
    let safe_url = |url: CowStr<'_>, link: LinkType| {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        let is_relative = scheme.as_ref().is_none_or(|scheme| scheme.contains(['/', '?', '#']));
        let is_safe = matches!(scheme.as_deref(), Some("http" | "https" | "mailto"));
        if is_relative || is_safe || link == LinkType::Email {
            url.into_string()
        } else {
            String::new()
        }
    };
    match tag {
        Tag::Link { link_type, dest_url, title, id } => {
            Tag::Link { link_type, dest_url: safe_url(dest_url, link_type).into(), title, id }
        }
        Tag::Image { link_type, dest_url, title, id } => {
            Tag::Image { link_type, dest_url: safe_url(dest_url, link_type).into(), title, id }
        }
        tag => tag,
    }
}

/// Sanitizes HTML. Removes HTML comments, keeps the tags in [`TAGS`], and escapes everything else.
fn sanitize_html(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(index) = rest.find('<') {
        out.push_str(&rest[..index].replace('>', "&gt;"));
        rest = &rest[index..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let end = rest.find('>').map_or(rest.len(), |end| end + 1);
        let (tag, after) = rest.split_at(end);
        out.push_str(&sanitize_tag(tag).unwrap_or_else(|| escape(tag)));
        rest = after;
    }
    out.push_str(&rest.replace('>', "&gt;"));
    out
}

/// Returns `tag` in a canonical form. `None` if comments may not use it.
fn sanitize_tag(tag: &str) -> Option<String> {
    let inner = tag.strip_prefix('<')?.strip_suffix('>')?.trim_end_matches('/').trim();
    let (closing, name) = inner.strip_prefix('/').map_or(("", inner), |name| ("/", name));
    let (name, attribute) = name.split_once(char::is_whitespace).unwrap_or((name, ""));
    let name = name.to_ascii_lowercase();
    let open = match attribute.trim() {
        "" => "",
        "open" if closing.is_empty() => " open",
        _ => return None,
    };
    TAGS.contains(&name.as_str()).then(|| format!("<{closing}{name}{open}>"))
}

/// Turns the URLs in a text into links.
fn autolink<'e>(text: &str, events: &mut Vec<Event<'e>>) {
    let text_event = |text: &str| Event::Text(text.to_owned().into());
    let mut rest = text;
    while let Some(index) = rest.find("https://").into_iter().chain(rest.find("http://")).min() {
        let (before, from_url) = rest.split_at(index);
        let end = from_url.find(|c: char| c.is_whitespace() || "<>\"`|".contains(c));
        let candidate = &from_url[..end.unwrap_or(from_url.len())];
        let url = candidate.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '\'', '*', '_']);
        events.push(text_event(before));
        events.push(Event::Start(Tag::Link {
            link_type: LinkType::Autolink,
            dest_url: url.to_owned().into(),
            title: "".into(),
            id: "".into(),
        }));
        events.push(text_event(url));
        events.push(Event::End(TagEnd::Link));
        rest = &from_url[url.len()..];
    }
    events.push(text_event(rest));
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn markdown_of_comments_is_rendered() {
        let html = render(
            "<!-- marker: site -->\n### Preview\n\n| a | b |\n|---|--:|\n| `x` | https://site.localhost/?a=1&b. |\n\n<details><summary>Log</summary>\n\n```text\n<b>https://x</b>\n```\n\n</details>\n",
        );
        for part in [
            "<h3>Preview</h3>",
            "<th style=\"text-align: right\">b</th>",
            "<a href=\"https://site.localhost/?a=1&amp;b\">https://site.localhost/?a=1&amp;b</a>.",
            "<details><summary>Log</summary>",
            "&lt;b&gt;https://x&lt;/b&gt;",
            "</details>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("marker"), "{html}");
    }

    #[test]
    fn scripts_are_removed() {
        for text in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "a <img src=x onerror=alert(1)> b",
            "<details ontoggle=alert(1) open>x</details>",
            "<svg/onload=alert(1)>",
            "<!-- x --><script>alert(1)</script>",
            "<!-- <b> --!><script>alert(1)</script>",
            "<details><svg><style><!--</style><img src onerror=alert(1)>-->",
            "<iframe srcdoc='<script>alert(1)</script>'>",
            "<p\nonclick=alert(1)>x",
            "<a href=\"javascript:alert(1)\">x</a>",
        ] {
            let html = render(text);
            for tag in html.split('<').skip(1) {
                let tag = tag.split(['>', ' ']).next().unwrap_or_default();
                let tag = tag.trim_start_matches('/');
                assert!(super::TAGS.contains(&tag), "{text}: {html}");
            }
            for handler in ["<p onclick", "<details ontoggle", "<p\n"] {
                assert!(!html.contains(handler), "{text}: {html}");
            }
        }
        for text in [
            "[x](javascript:alert(1))",
            "[x](JaVaScript:alert)",
            "![x](data:text/html,x)",
            "<javascript:alert(1)>",
            "[x](&#106;avascript:alert(1))",
            "[x](\tjavascript:alert(1))",
        ] {
            let html = render(text).to_lowercase();
            for start in ["href=\"javascript", "href=\"data", "src=\"data", "href=\"\tjava"] {
                assert!(!html.contains(start), "{text}: {html}");
            }
        }
        assert!(
            render("[x](https://a.example \"t\")")
                .contains("<a href=\"https://a.example\" title=\"t\">")
        );
    }
}
