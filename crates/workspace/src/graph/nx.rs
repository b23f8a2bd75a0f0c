//! Reads what the settings of Nx declare for a task of a package (<https://nx.dev/reference/inputs>,
//! <https://nx.dev/reference/project-configuration>).

use serde_json::Value;

use crate::graph::declaration::{BuildDeclaration, PathBase};

/// The maximum nesting of named inputs, which may name each other.
const MAX_NESTING: usize = 20;

/// The settings that apply to one package.
pub(crate) struct NxSettings<'c> {
    /// `nx.json` of the root.
    pub(crate) root: &'c Value,
    /// `project.json` of the package, and the key `nx` of its `package.json`.
    pub(crate) own: [&'c Value; 2],
}

impl NxSettings<'_> {
    /// Adds the projects that the package depends on.
    pub(crate) fn add_dependencies(&self, declared: &mut BuildDeclaration) {
        for name in self.own.iter().flat_map(|own| texts(&own["implicitDependencies"])) {
            declared.packages.insert(name.to_owned());
        }
    }

    /// Adds what applies to the task `task`.
    pub(crate) fn add_task(&self, task: &str, declared: &mut BuildDeclaration) {
        let targets: Vec<&Value> = self.own.iter().map(|own| &own["targets"][task]).collect();
        let defaults = &self.root["targetDefaults"];
        let executor = targets.iter().find_map(|target| target["executor"].as_str());
        let of_executor = executor.map(|name| &defaults[name]).filter(|found| found.is_object());
        let default = of_executor.unwrap_or(&defaults[task]);
        let field = |name: &str| {
            let mut all = targets.iter().copied().chain([default]);
            all.find_map(|target| target[name].as_array())
        };
        match field("inputs") {
            Some(inputs) => self.add_inputs(inputs, false, declared, 0),
            // Without inputs, they are `default` and `^default`.
            None => self.add_named("default", false, declared, 0),
        }
        for item in field("dependsOn").into_iter().flatten() {
            match item {
                // `theme:build` is a task of another project, `^build` one of the dependencies, `css` an own one.
                Value::String(text) if !text.starts_with('^') => {
                    let mut own = self.own.iter().map(|own| &own["targets"][text.as_str()]);
                    let is_own = own.any(Value::is_object);
                    match text.split_once(':').filter(|_| !is_own) {
                        Some((project, _)) => drop(declared.packages.insert(project.to_owned())),
                        None => drop(declared.tasks.insert(text.clone())),
                    }
                }
                item => add_projects(&item["projects"], declared),
            }
        }
    }

    fn add_inputs(
        &self,
        inputs: &[Value],
        of_others: bool,
        declared: &mut BuildDeclaration,
        depth: usize,
    ) {
        for input in inputs {
            match input {
                Value::String(text) => {
                    let rest = text.strip_prefix('^');
                    let of_others = of_others || rest.is_some();
                    self.add_text(rest.unwrap_or(text), of_others, declared, depth);
                }
                input => {
                    add_projects(&input["projects"], declared);
                    for field in ["fileset", "json", "input"] {
                        if let Some(text) = input[field].as_str() {
                            let is_other = of_others || input["dependencies"] == Value::Bool(true);
                            self.add_text(text, is_other, declared, depth);
                        }
                    }
                }
            }
        }
    }

    /// Adds a path or a named input. With `of_others` it is that of the dependencies, whose folders are inputs anyway.
    fn add_text(&self, text: &str, of_others: bool, declared: &mut BuildDeclaration, depth: usize) {
        let (is_excluded, path) = match text.strip_prefix('!') {
            Some(path) => (true, path),
            None => (false, text),
        };
        if let Some(path) = path.strip_prefix("{workspaceRoot}/") {
            match is_excluded {
                true => declared.exclude(PathBase::Root, path),
                false => declared.add_path(PathBase::Root, path),
            }
        } else if let Some(path) = path.strip_prefix("{projectRoot}/") {
            if !is_excluded && !of_others {
                declared.add_path(PathBase::Package, path);
            }
        } else if !is_excluded {
            self.add_named(path, of_others, declared, depth);
        }
    }

    fn add_named(
        &self,
        name: &str,
        of_others: bool,
        declared: &mut BuildDeclaration,
        depth: usize,
    ) {
        let [first, second] = self.own.map(|own| &own["namedInputs"][name]);
        let all = [first, second, &self.root["namedInputs"][name]];
        let found = all.into_iter().find_map(Value::as_array);
        if let Some(inputs) = found.filter(|_| depth < MAX_NESTING) {
            self.add_inputs(inputs, of_others, declared, depth + 1);
        }
    }
}

/// Adds the projects that an input or a dependency names. `self` and `dependencies` name none.
fn add_projects(value: &Value, declared: &mut BuildDeclaration) {
    for name in texts(value).chain(value.as_str()) {
        if !["self", "dependencies"].contains(&name) {
            declared.packages.insert(name.to_owned());
        }
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inputs_are_those_of_the_target_or_the_defaults() {
        let root = json!({
            "namedInputs": {
                "default": ["{projectRoot}/**/*", "sharedGlobals"],
                "sharedGlobals": ["{workspaceRoot}/global.json"],
                "production": ["default", "!{projectRoot}/**/*.test.ts", "!{workspaceRoot}/docs/x.md"],
                "loop": ["loop", "{workspaceRoot}/loop.json"],
            },
            "targetDefaults": {
                "build": { "inputs": ["production", "^production", { "env": "X" }], "dependsOn": ["^build"] },
                "@nx/vite:build": { "inputs": ["{workspaceRoot}/vite.json"] },
                "lint": { "inputs": ["{workspaceRoot}/lint.json"] },
            },
        });
        let read = |own: Value, task: &str| {
            let mut declared = BuildDeclaration::default();
            let settings = NxSettings { root: &root, own: [&own, &Value::Null] };
            settings.add_dependencies(&mut declared);
            settings.add_task(task, &mut declared);
            let paths = declared.paths.iter().filter(|(base, _)| *base == PathBase::Root);
            let paths: Vec<String> = paths.map(|(_, path)| path.clone()).collect();
            (paths.join(" "), declared.packages.into_iter().collect::<Vec<_>>().join(" "))
        };
        let text = |paths: &str, packages: &str| (paths.to_owned(), packages.to_owned());
        assert_eq!(read(json!({}), "build"), text("global.json", ""));
        assert_eq!(read(json!({}), "other"), text("global.json", ""));
        let own =
            json!({ "implicitDependencies": ["theme"], "namedInputs": { "sharedGlobals": [] } });
        assert_eq!(read(own, "build"), text("", "theme"));
        let own = |build: Value| json!({ "targets": { "build": build, "a:b": {} } });
        assert_eq!(
            read(own(json!({ "executor": "@nx/vite:build" })), "build"),
            text("vite.json", "")
        );
        let build = json!({
            "inputs": ["loop", { "fileset": "{workspaceRoot}/a.json" }, { "input": "default", "projects": ["icons"] },
                       { "runtime": "node -v" }, { "externalDependencies": ["vite"] }],
            "dependsOn": ["a:b", "theme:build", "^build", { "projects": ["fonts"], "target": "build" },
                          { "projects": "dependencies", "target": "css" }, { "dependencies": true, "target": "x" }],
        });
        assert_eq!(
            read(own(build), "build"),
            text("a.json global.json loop.json", "fonts icons theme")
        );
    }
}
