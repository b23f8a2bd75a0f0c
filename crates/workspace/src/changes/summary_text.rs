//! Encodes a summary as text: the broken configs in a line of JSON, then one line per node with its
//! path, its names as project and as package, and its edges. Splitting text is fast in a development
//! build too, which is the build that people run.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::changes::summary::{NamedNode, Summary};
use crate::graph::{Graph, Origin};
use crate::projects::discovery::BrokenConfig;
use base::error::{Error, refused};

/// Encodes the summary. `None` if a name contains a separator.
pub(crate) fn encode(summary: &Summary) -> Option<String> {
    let broken: Vec<_> = summary.broken.iter().map(CachedBrokenConfig::from).collect();
    let mut text = serde_json::to_string(&broken).ok()?;
    let (mut projects, mut packages) =
        (summary.projects.iter().peekable(), summary.packages.iter().peekable());
    for node in 0..summary.graph.len() {
        let mut fields = vec![summary.graph.path(node).to_string()];
        for named in [&mut projects, &mut packages] {
            let named = named.next_if(|named| named.node == node);
            fields.push(named.map_or(String::new(), |named| format!("={}", named.name)));
        }
        if fields.iter().any(|field| field.contains('\t') || field.contains('\n')) {
            return None;
        }
        let edges = summary.graph.edges_of(node).iter();
        let edges = edges.map(|(to, origin)| (to * ORIGINS.len() + *origin as usize).to_string());
        fields.push(edges.collect::<Vec<_>>().join(" "));
        text.push('\n');
        text += &fields.join("\t");
    }
    // A name without a node would be lost.
    (projects.next().is_none() && packages.next().is_none()).then_some(text)
}

/// Decodes a summary. `None` if the text is invalid.
pub(crate) fn decode(text: &str) -> Option<Summary> {
    let mut lines = text.split('\n');
    let broken: Vec<CachedBrokenConfig> = serde_json::from_str(lines.next()?).ok()?;
    let (mut paths, mut edges) = (Vec::new(), Vec::new());
    let (mut projects, mut packages) = (Vec::new(), Vec::new());
    for (node, line) in lines.enumerate() {
        let mut fields = line.split('\t');
        paths.push(Utf8PathBuf::from(fields.next()?));
        for named in [&mut projects, &mut packages] {
            if let Some(name) = fields.next()?.strip_prefix('=') {
                named.push(NamedNode { node, name: name.to_owned() });
            }
        }
        let numbers = fields.next()?.split(' ').filter(|number| !number.is_empty());
        let edge = |number: &str| {
            let number: usize = number.parse().ok()?;
            Some((number / ORIGINS.len(), ORIGINS[number % ORIGINS.len()]))
        };
        edges.push(numbers.map(edge).collect::<Option<_>>()?);
    }
    let broken = broken.into_iter().map(BrokenConfig::from).collect();
    Some(Summary { graph: Graph::from_parts(paths, edges)?, projects, packages, broken })
}

/// Every origin, by its index.
const ORIGINS: [Origin; 10] = [
    Origin::Package,
    Origin::Manifest,
    Origin::Install,
    Origin::Module,
    Origin::DependsOn,
    Origin::Input,
    Origin::Config,
    Origin::Link,
    Origin::Crate,
    Origin::Cargo,
];

#[derive(Deserialize, Serialize)]
struct CachedBrokenConfig {
    dir: Utf8PathBuf,
    config: Utf8PathBuf,
    message: String,
    hints: Vec<String>,
    is_unnamed: bool,
}

impl From<&BrokenConfig> for CachedBrokenConfig {
    fn from(broken: &BrokenConfig) -> CachedBrokenConfig {
        let BrokenConfig { dir, config, failure, is_unnamed } = broken.clone();
        let message = format!("{failure:#}");
        CachedBrokenConfig { dir, config, message, hints: failure.hints, is_unnamed }
    }
}

impl From<CachedBrokenConfig> for BrokenConfig {
    fn from(cached: CachedBrokenConfig) -> BrokenConfig {
        let CachedBrokenConfig { dir, config, message, hints, is_unnamed } = cached;
        let failure = hints.into_iter().fold(refused(message), Error::hint);
        BrokenConfig { dir, config, failure, is_unnamed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(names: [&str; 2]) -> Summary {
        let paths = ["a", "a-b", "a/b", "package.json"].map(Utf8PathBuf::from);
        let edges = vec![
            vec![(2, Origin::Manifest), (3, Origin::Install)],
            Vec::new(),
            vec![(1, Origin::Input)],
            Vec::new(),
        ];
        let named = |node, name: &str| NamedNode { node, name: name.to_owned() };
        let config = Utf8PathBuf::from("x/wrangler.json");
        let failure = refused("x/wrangler.json:\n\tno").hint("write one");
        Summary {
            graph: Graph::from_parts(paths.to_vec(), edges).expect("a graph"),
            projects: vec![named(0, names[0]), named(2, "")],
            packages: vec![named(0, "@scope/a"), named(1, names[1])],
            broken: vec![BrokenConfig { dir: "x".into(), config, failure, is_unnamed: true }],
        }
    }

    #[test]
    fn stored_summaries_load_unchanged() {
        let summary = summary(["Größe =1", "b"]);
        let text = encode(&summary).expect("text");
        let found = decode(&text).expect("a summary");
        assert_eq!(found.graph, summary.graph);
        assert_eq!((&found.projects, &found.packages), (&summary.projects, &summary.packages));
        assert_eq!(found.broken[0].failure.message, summary.broken[0].failure.message);
        assert_eq!(found.broken[0].failure.hints, ["write one"]);
        assert!(found.broken[0].is_unnamed);
        assert_eq!(encode(&found), Some(text));
    }

    #[test]
    fn does_not_store_incomplete_summaries() {
        for names in [["a\nb", "b"], ["a", "b\tc"]] {
            assert_eq!(encode(&summary(names)), None);
        }
        let mut lost = summary(["a", "b"]);
        lost.packages.reverse();
        assert_eq!(encode(&lost), None, "a name without its node");
        let text = encode(&summary(["a", "b"])).expect("text");
        for (good, bad) in [("a-b\t", "z\t"), (" 32", " 99"), ("=b", "b\tx"), ("[{", "[")] {
            assert!(text.contains(good) && decode(&text.replacen(good, bad, 1)).is_none(), "{bad}");
        }
    }
}
