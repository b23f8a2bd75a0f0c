//! Reads the output of a static site right after the build, while no other project builds into the
//! same folder.

use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::health::response::is_plain_name;

/// A file of the build's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltFile {
    /// Its content.
    pub bytes: Vec<u8>,
    /// `true` for HTML, which edge features rewrite.
    pub is_html: bool,
}

/// The facts of a build's output that the health check needs.
#[derive(Clone, Debug, Default)]
pub struct BuildOutput {
    /// The file for the health path, and `/index.html`, by path.
    pages: Vec<(String, BuiltFile)>,
    /// A file that no edge feature rewrites, with its path.
    pub proof: Option<(String, Vec<u8>)>,
    /// The sources of the rules in `_redirects`.
    redirects: Vec<String>,
}

/// The maximum number of a folder's entries that are searched for a proof.
const MAX_SEARCHED_ENTRIES: usize = 2000;

/// The largest proof.
const LARGEST: u64 = 256 * 1024;

/// The extensions of files that no edge feature rewrites. Polish rewrites images, and Cloudflare can
/// manage files such as `robots.txt`.
const STABLE: [&str; 9] = ["js", "mjs", "css", "woff2", "woff", "wasm", "map", "json", "pdf"];

impl BuildOutput {
    /// Reads what the check for `path` needs from the output folder `dist`. `html_handling` is the
    /// field of the wrangler config.
    #[must_use]
    pub fn read(dist: &Utf8Path, path: &str, html_handling: Option<&str>) -> BuildOutput {
        let names = [path, "/index.html"];
        let page = |path: &&str| Some(((*path).to_owned(), file_for(dist, path, html_handling)?));
        let rules = std::fs::read_to_string(dist.join("_redirects")).unwrap_or_default();
        BuildOutput {
            pages: names.iter().filter_map(page).collect(),
            proof: proof(dist),
            redirects: rules
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'))
                .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
                .collect(),
        }
    }

    /// Returns the file that is served at `path`.
    #[must_use]
    pub fn page(&self, path: &str) -> Option<BuiltFile> {
        self.pages.iter().find(|(name, _)| name == path).map(|(_, file)| file.clone())
    }

    /// Returns true if a rule of `_redirects` matches `path`.
    #[must_use]
    pub fn has_redirect(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or(path);
        self.redirects.iter().any(|source| {
            let source = source
                .split_once("://")
                .map_or(source.as_str(), |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
            let prefix = source.split(['*', ':']).next().unwrap_or(source);
            if prefix.len() < source.len() { path.starts_with(prefix) } else { path == source }
        })
    }
}

/// Returns the file that Cloudflare serves for `path`
/// (<https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/>).
fn file_for(dist: &Utf8Path, path: &str, html_handling: Option<&str>) -> Option<BuiltFile> {
    let path = path.split('?').next().unwrap_or(path).trim_matches('/');
    let exact = path.to_owned();
    let names = match html_handling {
        Some("none") => vec![exact],
        _ => vec![exact, format!("{path}/index.html"), format!("{path}.html")],
    };
    let read = |name: &String| {
        let name = name.trim_start_matches('/');
        let bytes = std::fs::read(dist.join(name)).ok()?;
        let is_html = [".html", ".htm", ".xhtml"].iter().any(|end| name.ends_with(end));
        Some(BuiltFile { bytes, is_html })
    };
    names.iter().filter(|name| !name.is_empty()).find_map(read)
}

/// Returns a file that no edge feature rewrites, with its path. Prefers a file with a hash in its
/// name. `None` if `.assetsignore` exists, because it may exclude the file.
fn proof(dist: &Utf8Path) -> Option<(String, Vec<u8>)> {
    if dist.join(".assetsignore").exists() {
        return None;
    }
    let mut found: Vec<Utf8PathBuf> = Vec::new();
    let (mut waiting, mut seen) = (vec![Utf8PathBuf::new()], 0);
    while let Some(folder) = waiting.pop() {
        for entry in dist.join(&folder).read_dir_utf8().ok()?.filter_map(Result::ok) {
            seen += 1;
            let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
            let is_hidden = name.starts_with(['.', '_']) && !folder_of_assets(name);
            if seen > MAX_SEARCHED_ENTRIES || is_hidden || !is_plain_name(&path) {
                continue;
            }
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => waiting.push(path),
                Ok(meta) if (1..=LARGEST).contains(&meta.len()) && is_stable(&path) => {
                    found.push(path);
                }
                _ => {}
            }
        }
    }
    let path = found.into_iter().min_by_key(|path| (!has_hash(path), path.clone()))?;
    let bytes = std::fs::read(dist.join(&path)).ok()?;
    Some((format!("/{path}"), bytes))
}

/// Folders such as `_astro` and `_next` contain files with hashes in their names. `_worker.js` is code.
fn folder_of_assets(name: &str) -> bool {
    name.starts_with('_') && !name.contains('.') && !["_headers", "_redirects"].contains(&name)
}

fn is_stable(path: &Utf8Path) -> bool {
    path.extension().is_some_and(|extension| STABLE.contains(&extension))
}

/// Returns true if a part of the file's name looks like a hash: eight characters with a digit and
/// a letter.
fn has_hash(path: &Utf8Path) -> bool {
    let stem = path.file_stem().unwrap_or_default();
    stem.split(['.', '-', '_']).any(|part| {
        part.len() >= 8
            && part.bytes().any(|b| b.is_ascii_digit())
            && part.bytes().any(|b| b.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a folder with these files.
    fn folder(name: &str, files: &[(&str, &str)]) -> Utf8PathBuf {
        let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8");
        let dir = temporary.join(format!("xtask-built-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        dir
    }

    #[test]
    fn resolves_pages_like_cloudflare() {
        let files =
            [("index.html", "root"), ("about.html", "about"), ("a/index.html", "a"), ("up", "up")];
        let dir = folder("pages", &files);
        for (path, handling, wanted) in [
            ("/", None, Some("root")),
            ("/about", None, Some("about")),
            ("/a/", Some("auto-trailing-slash"), Some("a")),
            ("/up?deep=1", None, Some("up")),
            ("/", Some("none"), None),
            ("/about", Some("none"), None),
            ("/about.html", Some("none"), Some("about")),
            ("/gone", None, None),
        ] {
            let page = BuildOutput::read(&dir, path, handling).page(path);
            let text = page.map(|page| String::from_utf8(page.bytes).expect("UTF-8"));
            assert_eq!(text.as_deref(), wanted, "{path} {handling:?}");
        }
        std::fs::remove_dir_all(dir).expect("removable");
    }

    #[test]
    fn checks_a_file_that_no_rule_rewrites() {
        let files = [
            ("index.html", "x"),
            ("robots.txt", "x"),
            ("logo.png", "x"),
            (".well-known/a.json", "x"),
            ("_worker.js/index.js", "x"),
            ("a b.js", "x"),
            ("plain.js", "plain"),
            ("_astro/page.Dk3xY9ab.css", "hashed"),
        ];
        let dir = folder("proof", &files);
        let proof = || BuildOutput::read(&dir, "/", None).proof;
        let hashed = ("/_astro/page.Dk3xY9ab.css".to_owned(), b"hashed".to_vec());
        assert_eq!(proof(), Some(hashed));
        std::fs::remove_dir_all(dir.join("_astro")).expect("removable");
        assert_eq!(proof(), Some(("/plain.js".to_owned(), b"plain".to_vec())));
        std::fs::write(dir.join(".assetsignore"), "plain.js").expect("a file");
        assert_eq!(proof(), None);
        std::fs::remove_dir_all(dir).expect("removable");
    }

    #[test]
    fn matches_redirect_rules_by_source() {
        let rules = "# comment\n/ /en/ 302\n/old/* /new/:splat\n/blog/:slug /posts/:slug\nhttps://a.example/x /y\n";
        let dir = folder("redirects", &[("_redirects", rules), ("index.html", "x")]);
        let built = BuildOutput::read(&dir, "/", None);
        for path in ["/", "/old/a", "/blog/a", "/x", "/?q=1"] {
            assert!(built.has_redirect(path), "{path}");
        }
        for path in ["/en/", "/new/", "/y"] {
            assert!(!built.has_redirect(path), "{path}");
        }
        std::fs::remove_dir_all(dir).expect("removable");
    }
}
