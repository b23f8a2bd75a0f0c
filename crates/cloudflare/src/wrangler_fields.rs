//! The fields of a wrangler config that wrangler does not know.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use base::error::did_you_mean;

/// A field that wrangler would ignore with a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The path of the field: `assets.directoy`.
    pub path: String,
    /// The hint that names the field that was probably meant.
    pub hint: Option<String>,
}

/// The fields of the items of a list that wrangler reads and its schema lacks, because they are deprecated or internal
/// (`validateContainerApp` and `validateServiceBinding` of wrangler 4.164).
const OF_ITEMS: [(&str, &[&str]); 2] = [
    ("containers", &["affinities", "configuration", "instances", "rollout_kind", "wrangler_ssh"]),
    ("services", &["environment"]),
];

/// The fields of wrangler 1 to 3 without a successor. Wrangler ignores them with a warning, and no deployment needs them.
const OBSOLETE: [&str; 5] = ["miniflare", "type", "usage_model", "webpack_config", "zone_id"];

/// The JSON schema of wrangler's config, as far as it says which fields exist.
///
/// Most of its 376 KB is text for editors, which is skipped. Each deployment reads the schema, so its fields alone are kept
/// as [`ConfigSchema::to_text`].
#[derive(Debug, Deserialize, Serialize)]
pub struct ConfigSchema(Keywords);

/// The format of [`ConfigSchema::to_text`], which changes with the keywords that are read.
pub const FIELDS_FORMAT: u32 = 1;

impl ConfigSchema {
    /// Parses the text of the schema.
    pub fn parse(text: &str) -> Result<ConfigSchema, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns the schema as far as it forbids fields, which is a tenth of its size.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Returns the fields of `config` that are not in the schema.
    #[must_use]
    pub fn unknown_fields(&self, config: &Value) -> Vec<UnknownField> {
        let mut unknown = Vec::new();
        self.check(&self.0, config, "", &mut unknown);
        unknown
    }

    /// Adds the unknown fields of `value`, which is at `path`, to `unknown`.
    fn check(&self, schema: &Keywords, value: &Value, path: &str, unknown: &mut Vec<UnknownField>) {
        if let Some(definition) = self.definition(schema) {
            return self.check(definition, value, path, unknown);
        }
        for part in schema.all_of.iter().filter_map(Schema::keywords) {
            self.check(part, value, path, unknown);
        }
        let branches = schema.any_of.iter().filter(|branch| self.fits(branch, value));
        let tried = branches.map(|branch| {
            let mut inner = Vec::new();
            if let Some(branch) = branch.keywords() {
                self.check(branch, value, path, &mut inner);
            }
            inner
        });
        // The branch with the fewest errors is probably the intended one.
        unknown.extend(tried.min_by_key(Vec::len).unwrap_or_default());
        if let (Some(items), Some(schema)) = (value.as_array(), schema.items.keywords()) {
            for (index, item) in items.iter().enumerate() {
                self.check(schema, item, &format!("{path}[{index}]"), unknown);
            }
        }
        for (name, inner) in value.as_object().into_iter().flatten() {
            let path_of_field = join(path, name);
            let known = schema.properties.as_ref();
            match (known.and_then(|known| known.get(name)), &schema.additional_properties) {
                (Some(Schema::Keywords(field)), _) => {
                    self.check(field, inner, &path_of_field, unknown);
                }
                (Some(Schema::Any | Schema::Nothing), _) => {}
                (None, _) if is_unlisted(path, name) => {}
                (None, Schema::Keywords(field)) => {
                    self.check(field, inner, &path_of_field, unknown);
                }
                (None, Schema::Nothing) => {
                    let names = known.into_iter().flat_map(BTreeMap::keys).map(String::as_str);
                    let hint = did_you_mean(name, names);
                    unknown.push(UnknownField { path: path_of_field, hint });
                }
                (None, Schema::Any) => {}
            }
        }
    }

    /// Returns `true` if `value` may be meant for `schema`, by its type.
    fn fits(&self, schema: &Schema, value: &Value) -> bool {
        match schema {
            Schema::Any => true,
            Schema::Nothing => false,
            Schema::Keywords(schema) => self.has_type(schema, value),
        }
    }

    /// Returns `true` if `value` has a type of `schema`. A schema without a type fits any value.
    fn has_type(&self, schema: &Keywords, value: &Value) -> bool {
        if let Some(definition) = self.definition(schema) {
            return self.has_type(definition, value);
        }
        match schema.types {
            Types::Any => true,
            Types::Object => value.is_object(),
            Types::Array => value.is_array(),
            Types::String => value.is_string(),
            Types::Boolean => value.is_boolean(),
            Types::Number => value.is_number(),
        }
    }

    /// Returns the definition that a schema refers to.
    fn definition(&self, schema: &Keywords) -> Option<&Keywords> {
        let name = schema.reference.as_deref()?.strip_prefix("#/definitions/")?;
        self.0.definitions.get(name)?.keywords()
    }
}

/// A part of the schema.
#[derive(Debug, Default)]
enum Schema {
    /// Any value: `true`, no schema at all, or a form that is not read here.
    #[default]
    Any,
    /// No value: `false`.
    Nothing,
    Keywords(Box<Keywords>),
}

impl Schema {
    /// Returns `true` if no field of a value can be unknown. Its type may still decide about a branch.
    fn forbids_nothing(&self) -> bool {
        match self {
            Schema::Any => true,
            Schema::Nothing => false,
            Schema::Keywords(schema) => {
                let mut parts = schema.all_of.iter().chain(&schema.any_of).chain([&schema.items]);
                schema.reference.is_none()
                    && schema.properties.is_none()
                    && parts.all(Schema::forbids_nothing)
                    && schema.additional_properties.forbids_nothing()
            }
        }
    }

    fn keywords(&self) -> Option<&Keywords> {
        match self {
            Schema::Any | Schema::Nothing => None,
            Schema::Keywords(keywords) => Some(keywords),
        }
    }
}

/// The keywords of a schema that are read here.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Keywords {
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "map_with_types")]
    definitions: BTreeMap<String, Schema>,
    #[serde(rename = "$ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    all_of: Vec<Schema>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "list_with_types")]
    any_of: Vec<Schema>,
    #[serde(skip_serializing_if = "Schema::forbids_nothing")]
    items: Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<BTreeMap<String, Schema>>,
    #[serde(skip_serializing_if = "Schema::forbids_nothing")]
    additional_properties: Schema,
    #[serde(rename = "type", skip_serializing_if = "Types::is_any")]
    types: Types,
}

/// The types that a schema allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Types {
    /// No type is given, or a list of them.
    #[default]
    Any,
    Object,
    Array,
    String,
    Boolean,
    Number,
}

impl Types {
    fn is_any(&self) -> bool {
        *self == Types::Any
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Schema::Keywords(keywords) if !self.forbids_nothing() => keywords.serialize(serializer),
            Schema::Any | Schema::Keywords(_) => serializer.serialize_bool(true),
            Schema::Nothing => serializer.serialize_bool(false),
        }
    }
}

/// A schema that is written with its type, because a choice between branches depends on it.
struct WithType<'s>(&'s Schema);

impl Serialize for WithType<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.keywords() {
            Some(keywords) => keywords.serialize(serializer),
            None => self.0.serialize(serializer),
        }
    }
}

fn map_with_types<S: Serializer>(
    schemas: &BTreeMap<String, Schema>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(schemas.iter().map(|(name, schema)| (name, WithType(schema))))
}

fn list_with_types<S: Serializer>(branches: &[Schema], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(branches.iter().map(WithType))
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Schema, D::Error> {
        deserializer.deserialize_any(SchemaVisitor)
    }
}

/// Reads a schema without a copy of it, as `#[serde(untagged)]` would make at each depth.
struct SchemaVisitor;

impl<'de> Visitor<'de> for SchemaVisitor {
    type Value = Schema;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schema")
    }

    fn visit_bool<E>(self, is_any: bool) -> Result<Schema, E> {
        Ok(if is_any { Schema::Any } else { Schema::Nothing })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Schema, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Schema::Any)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schema, A::Error> {
        let keywords = Keywords::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Schema::Keywords(Box::new(keywords)))
    }
}

impl<'de> Deserialize<'de> for Types {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Types, D::Error> {
        deserializer.deserialize_any(TypesVisitor)
    }
}

struct TypesVisitor;

impl<'de> Visitor<'de> for TypesVisitor {
    type Value = Types;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type or a list of types")
    }

    fn visit_str<E>(self, name: &str) -> Result<Types, E> {
        Ok(match name {
            "object" => Types::Object,
            "array" => Types::Array,
            "string" => Types::String,
            "boolean" => Types::Boolean,
            "number" | "integer" => Types::Number,
            _ => Types::Any,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Types, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Types::Any)
    }
}

/// Returns true if the schema lacks the field `name` of `path`, and a config may have it. `path` is empty for the top level,
/// or such as `env.staging` or `env.staging.containers[0]`.
fn is_unlisted(path: &str, name: &str) -> bool {
    let mut parts = path.rsplit('.');
    let (last, before) = (parts.next().unwrap_or_default(), parts.next());
    let is_level = path.is_empty() || (before == Some("env") && parts.next().is_none());
    let list = last.split_once('[').map_or("", |(list, _)| list);
    let is_of_item = |(own, names): &(&str, &[&str])| *own == list && names.contains(&name);
    (is_level && OBSOLETE.contains(&name)) || OF_ITEMS.iter().any(is_of_item)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_misspelt_fields_at_every_depth() {
        let schema = json!({
            "allOf": [{"$ref": "#/definitions/Config"}],
            "definitions": {
                "Config": {"type": "object", "additionalProperties": false, "properties": {
                    "name": {"description": "The name."}, "assets": {"$ref": "#/definitions/Assets"}, "vars": {"type": "object"},
                    "env": {"type": "object", "additionalProperties": {"$ref": "#/definitions/Config"}},
                    "containers": {"type": "array", "items":
                        {"type": "object", "additionalProperties": false, "properties": {"image": {}}}},
                    "services": {"type": "array", "items":
                        {"type": "object", "additionalProperties": false, "properties": {"binding": {}}}},
                    "routes": {"type": "array", "items": {"anyOf": [{"type": "string"},
                        {"type": "object", "additionalProperties": false, "properties": {"pattern": {}}}]}}}},
                "Assets": {"type": "object", "additionalProperties": false, "properties": {"directory": {}}}
            }
        });
        let schema = ConfigSchema::deserialize(schema).expect("a schema");
        let text = schema.to_text().expect("JSON");
        assert!(text.contains("vars") && !text.contains("description"), "{text}");
        let reduced = ConfigSchema::parse(&text).expect("a schema");
        assert_eq!(reduced.to_text().expect("JSON"), text);
        let config = json!({"name": "a", "asssets": {}, "assets": {"directoy": "x"}, "vars": {"ANY": 1},
            "routes": ["a", {"patern": "b"}], "containers": [{"instances": 1, "imag": "i"}],
            "services": [{"binding": "B", "environment": "production"}], "zone_id": "",
            "env": {"staging": {"nam": "b", "usage_model": "bundled", "containers": [{"configuration": {"image": "i"}}]}}});
        let found: Vec<(String, Option<String>)> =
            schema.unknown_fields(&config).into_iter().map(|f| (f.path, f.hint)).collect();
        assert_eq!(reduced.unknown_fields(&config), schema.unknown_fields(&config));
        let expected = [
            ("assets.directoy", "directory"),
            ("asssets", "assets"),
            ("containers[0].imag", "image"),
            ("env.staging.nam", "name"),
            ("routes[1].patern", "pattern"),
        ];
        assert_eq!(
            found,
            expected.map(|(path, near)| (path.to_owned(), Some(format!("did you mean `{near}`?"))))
        );
    }
}
