//! Parses a `package.json` as leniently as npm and Bun: a value of an unexpected type counts as absent,
//! and the last of repeated keys counts.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use camino::Utf8Path;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::package_manager::manager_field;
use crate::files::config_text::parse_jsonc;
use crate::files::limits::{self, Syntax};
use crate::settings::Settings;

/// Names with their specifiers.
pub type Specs = BTreeMap<String, String>;

/// The fields of a `package.json` that we read.
#[derive(Debug, Default)]
pub(crate) struct PackageManifest {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) package_manager: Option<String>,
    pub(crate) workspaces: Vec<String>,
    pub(crate) scripts: Specs,
    pub(crate) dependencies: Specs,
    pub(crate) dev_dependencies: Specs,
    pub(crate) optional_dependencies: Specs,
    pub(crate) peer_dependencies: Specs,
    pub(crate) rules: InstallRules,
    /// The paths in `main`, `exports` and similar fields, as written.
    pub(crate) exported: Vec<String>,
    /// `true` if `imports` or `exports` map names to its files.
    pub(crate) maps_imports: bool,
    pub(crate) xtask: Settings,
}

/// The rules of a root that change the dependencies of everything that is installed below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallRules {
    /// Names of packages with the specifiers that replace all others: `overrides` and `resolutions` of
    /// every manager, including those for one version or below one package.
    pub overrides: Vec<(String, String)>,
    /// Specifiers that other sections add, such as `packageExtensions`.
    pub specs: Vec<String>,
    /// The patch files of `patchedDependencies`.
    pub patches: Vec<String>,
    /// The catalogs by name. The default one has an empty name.
    pub catalogs: BTreeMap<String, Specs>,
}

impl PackageManifest {
    /// Parses `text`. Accepts comments and trailing commas, like Bun.
    pub(crate) fn parse(text: &str) -> Result<PackageManifest, String> {
        let text = limits::without_bom(text);
        limits::check(text, Syntax::Json)?;
        let mut manifest: PackageManifest = serde_json::from_str(text).or_else(|error| {
            let lenient = parse_jsonc(text).ok().filter(Value::is_object);
            lenient
                .and_then(|value| serde_json::from_value(value).ok())
                .ok_or_else(|| error.to_string())
        })?;
        manifest.resolve_references();
        Ok(manifest)
    }

    /// Replaces `$name` in overrides by the specifier of the root's own dependency.
    fn resolve_references(&mut self) {
        let PackageManifest {
            rules, dependencies, dev_dependencies, optional_dependencies, ..
        } = self;
        for (_, spec) in &mut rules.overrides {
            let Some(name) = spec.strip_prefix('$') else { continue };
            let sections = [&*dependencies, dev_dependencies, optional_dependencies];
            if let Some(found) = sections.iter().find_map(|specs| specs.get(name)) {
                *spec = found.clone();
            }
        }
    }
}

impl InstallRules {
    /// Adds a section of overrides, whose entries may be nested.
    pub(crate) fn add_overrides(&mut self, section: &Value) {
        let mut waiting: Vec<(&str, &Value)> = vec![("", section)];
        while let Some((parent, value)) = waiting.pop() {
            match value {
                Value::String(spec) => self.overrides.push((parent.to_owned(), spec.clone())),
                Value::Object(entries) => {
                    let inner = |(key, value)| match key {
                        "." => (parent, value),
                        key => (overridden_name(key), value),
                    };
                    waiting.extend(
                        entries.iter().map(|(key, value)| (key.as_str(), value)).map(inner),
                    );
                }
                _ => {}
            }
        }
    }

    /// Adds a section of patch files.
    pub(crate) fn add_patches(&mut self, section: &Value) {
        visit_texts(section, &mut |text| self.patches.push(text.to_owned()));
    }

    /// Adds a section with specifiers at any depth.
    pub(crate) fn add_specs(&mut self, section: &Value) {
        visit_texts(section, &mut |text| self.specs.push(text.to_owned()));
    }

    /// Adds the default catalog and the named ones.
    pub(crate) fn add_catalogs(&mut self, default: &Value, named: &Value) {
        let named = named.as_object().into_iter().flatten();
        let named = named.map(|(name, specs)| (name.as_str(), specs));
        for (name, specs) in std::iter::once(("", default)).chain(named) {
            let Some(specs) = specs.as_object() else { continue };
            let name = if name == "default" { "" } else { name };
            let catalog = self.catalogs.entry(name.to_owned()).or_default();
            let text =
                |(name, spec): (&String, &Value)| Some((name.clone(), spec.as_str()?.to_owned()));
            catalog.extend(specs.iter().filter_map(text));
        }
    }

    /// Adds the fields that pnpm reads, in `package.json#pnpm` and in `pnpm-workspace.yaml`.
    pub(crate) fn add_pnpm(&mut self, section: &Value) {
        self.add_overrides(&section["overrides"]);
        self.add_patches(&section["patchedDependencies"]);
        self.add_specs(&section["packageExtensions"]);
        self.add_catalogs(&section["catalog"], &section["catalogs"]);
    }
}

/// Returns the name of the package that the key of an override replaces: the last one in
/// `a@1>b@^2`, `**/b` and `a/@scope/b`, without its version.
fn overridden_name(key: &str) -> &str {
    let last = key.rsplit('>').next().unwrap_or(key).trim();
    let mut parts = last.rsplit('/');
    let name = parts.next().unwrap_or(last);
    // A version could contain a slash too, but no manager writes one such as `b@npm:1/2`.
    let name = match parts.next() {
        Some(scope) if scope.starts_with('@') => &last[last.len() - name.len() - scope.len() - 1..],
        _ => name,
    };
    match name.char_indices().skip(1).find(|(_, c)| *c == '@') {
        Some((at, _)) => &name[..at],
        None => name,
    }
}

fn visit_texts(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| visit_texts(item, visit)),
        Value::Object(entries) => entries.values().for_each(|value| visit_texts(value, visit)),
        _ => {}
    }
}

impl<'de> Deserialize<'de> for PackageManifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PackageManifest, D::Error> {
        deserializer.deserialize_map(ManifestVisitor)
    }
}

struct ManifestVisitor;

impl<'de> Visitor<'de> for ManifestVisitor {
    type Value = PackageManifest;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PackageManifest, A::Error> {
        let mut manifest = PackageManifest::default();
        // Sections are evaluated at the end, because the last of repeated ones counts.
        let mut sections: BTreeMap<String, Value> = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => manifest.name = map.next_value::<Lenient<String>>()?.0,
                "version" => manifest.version = map.next_value::<Lenient<String>>()?.0,
                "packageManager" => {
                    manifest.package_manager = map.next_value::<Lenient<String>>()?.0;
                }
                "scripts" => manifest.scripts = specs(&mut map)?,
                "dependencies" => manifest.dependencies = specs(&mut map)?,
                "devDependencies" => manifest.dev_dependencies = specs(&mut map)?,
                "optionalDependencies" => manifest.optional_dependencies = specs(&mut map)?,
                "peerDependencies" => manifest.peer_dependencies = specs(&mut map)?,
                "xtask" => {
                    manifest.xtask = map.next_value::<Option<Settings>>()?.unwrap_or_default();
                }
                "main" | "module" | "browser" | "types" | "typings" | "bin" | "exports"
                | "files" => {
                    let section: Value = map.next_value()?;
                    manifest.maps_imports |= key == "exports";
                    visit_texts(&section, &mut |text| manifest.exported.push(text.to_owned()));
                }
                "imports" => {
                    let _: IgnoredAny = map.next_value()?;
                    manifest.maps_imports = true;
                }
                "workspaces"
                | "pnpm"
                | "overrides"
                | "resolutions"
                | "patchedDependencies"
                | "catalog"
                | "catalogs"
                | "devEngines" => {
                    sections.insert(key, map.next_value()?);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        manifest.add_sections(&sections);
        Ok(manifest)
    }
}

impl PackageManifest {
    fn add_sections(&mut self, sections: &BTreeMap<String, Value>) {
        let section = |name: &str| sections.get(name).unwrap_or(&Value::Null);
        let workspaces = section("workspaces");
        let patterns = if workspaces.is_object() { &workspaces["packages"] } else { workspaces };
        visit_texts(patterns, &mut |pattern| self.workspaces.push(pattern.to_owned()));
        let rules = &mut self.rules;
        rules.add_overrides(section("overrides"));
        rules.add_overrides(section("resolutions"));
        rules.add_patches(section("patchedDependencies"));
        rules.add_catalogs(&workspaces["catalog"], &workspaces["catalogs"]);
        rules.add_catalogs(section("catalog"), section("catalogs"));
        rules.add_pnpm(section("pnpm"));
        let field = self.package_manager.as_deref();
        self.package_manager = manager_field(field, section("devEngines"));
    }
}

fn specs<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Specs, A::Error> {
    let Lenient(found) = map.next_value::<Lenient<BTreeMap<String, Lenient<String>>>>()?;
    let texts = found.unwrap_or_default().into_iter();
    Ok(texts.filter_map(|(name, spec)| Some((name, spec.0?))).collect())
}

/// A value of the expected type, or `None` for one of another type.
struct Lenient<T>(Option<T>);

/// A type that [`Lenient`] can read.
trait LenientValue: Sized {
    fn from_text(_text: &str) -> Option<Self> {
        None
    }

    fn from_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl LenientValue for String {
    fn from_text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }
}

impl LenientValue for BTreeMap<String, Lenient<String>> {
    fn from_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut found = BTreeMap::new();
        while let Some((key, value)) = map.next_entry()? {
            found.insert(key, value);
        }
        Ok(Some(found))
    }
}

impl<'de, T: LenientValue> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lenient<T>, D::Error> {
        deserializer.deserialize_any(LenientVisitor(PhantomData)).map(Lenient)
    }
}

struct LenientVisitor<T>(PhantomData<T>);

impl<'de, T: LenientValue> Visitor<'de> for LenientVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<T>, E> {
        Ok(T::from_text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::from_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<T>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

/// Reads the `package.json` of a folder. `None` if there is none, or if it is not JSON.
pub(super) fn read_manifest(root: &Utf8Path, dir: &Utf8Path) -> Option<Value> {
    let text = std::fs::read_to_string(root.join(dir).join("package.json")).ok()?;
    serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> PackageManifest {
        PackageManifest::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn reads_every_manifest_that_npm_and_bun_read() {
        for text in [
            "\u{feff}{ \"name\": \"a\" }",
            r#"{ "name": "a", "version": 1 }"#,
            r#"{ "name": "a", "version": null, "workspaces": null, "scripts": null }"#,
            r#"{ "name": "b", "name": "a", "scripts": { "x": 1 }, "scripts": {} }"#,
            r#"{ "name": "a", "dependencies": [], "devDependencies": { "b": 1, "c": null } }"#,
            r#"{ "name": "a", "workspaces": { "packages": null }, "peerDependencies": "no" }"#,
            r#"{ "name": "a", "overrides": null, "pnpm": [], "resolutions": 1, "xtask": null }"#,
            r#"{ "name": "a", "packageManager": false, "devEngines": "no", "catalog": [] }"#,
            "{ // a comment\n \"name\": \"a\", }",
        ] {
            let manifest = parse(text);
            assert_eq!(manifest.name.as_deref(), Some("a"), "{text}");
            assert!(manifest.version.is_none() && manifest.workspaces.is_empty(), "{text}");
            assert!(manifest.scripts.is_empty() && manifest.dev_dependencies.is_empty(), "{text}");
        }
        assert_eq!(parse(r#"{ "workspaces": "a/*" }"#).workspaces, ["a/*"]);
        for text in ["", "[]", "{", "null", "{ \"a\" }"] {
            assert!(PackageManifest::parse(text).is_err(), "{text}");
        }
        let deep = format!("{{ \"x\": {}{} }}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(
            PackageManifest::parse(&deep).expect_err("deep"),
            "line 1 is nested more than 100 levels deep"
        );
    }

    #[test]
    fn install_rules_of_each_manager() {
        let manifest = parse(
            r#"{ "dependencies": { "own": "file:./own" },
                 "workspaces": { "packages": ["a"], "catalog": { "c": "^1" }, "catalogs": { "x": { "d": "2" } } },
                 "overrides": { "own": "$own", "p": { ".": "1", "q": "file:./q" }, "r@1": "2" },
                 "resolutions": { "a/**/@s/b": "portal:./b", "@s/c@npm:1.0": "link:./c" },
                 "patchedDependencies": { "left@1.0.0": "patches/left.patch" },
                 "pnpm": { "overrides": { "m@1>n": "workspace:*" }, "patchedDependencies": { "o": "p/o.patch" },
                           "packageExtensions": { "t": { "dependencies": { "u": "file:./u" } } } },
                 "devEngines": { "packageManager": { "name": "pnpm" } } }"#,
        );
        let mut overrides = manifest.rules.overrides.clone();
        overrides.sort();
        let expected = [
            ("@s/b", "portal:./b"),
            ("@s/c", "link:./c"),
            ("n", "workspace:*"),
            ("own", "file:./own"),
            ("p", "1"),
            ("q", "file:./q"),
            ("r", "2"),
        ];
        assert_eq!(overrides, expected.map(|(name, spec)| (name.to_owned(), spec.to_owned())));
        assert_eq!(manifest.rules.patches, ["patches/left.patch", "p/o.patch"]);
        assert_eq!(manifest.rules.specs, ["file:./u"]);
        assert_eq!(manifest.rules.catalogs[""]["c"], "^1");
        assert_eq!(manifest.rules.catalogs["x"]["d"], "2");
        assert_eq!(manifest.package_manager.as_deref(), Some("pnpm"));
    }
}
