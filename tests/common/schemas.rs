//! The schemas of `schemas/`, ready to check what goes over the wire with a validator that we did not write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::{Registry, Validator};
use serde_json::Value;

/// Every schema by its name, its path without `.json`: `request/channel.start`, `event/cloudevent`.
pub struct Schemas {
    validators: BTreeMap<String, Validator>,
}

impl Schemas {
    /// Reads and compiles every schema; a reference that the folder does not answer is a fault.
    pub fn load() -> Schemas {
        let documents = documents(&folder());
        let resources = documents.values().map(|document| (id_of(document).to_owned(), document.clone()));
        let registry = resources
            .fold(Registry::new(), |registry, (id, document)| registry.add(id, document).expect("an id is a URI"))
            .prepare()
            .expect("every reference resolves within the folder");
        let compile = |document: &Value| {
            jsonschema::options()
                .offline()
                .with_registry(&registry)
                .should_validate_formats(true)
                .build(document)
                .unwrap_or_else(|error| panic!("{}: {error}", id_of(document)))
        };
        Schemas { validators: documents.iter().map(|(name, document)| (name.clone(), compile(document))).collect() }
    }

    /// Says every place where `value` is not as the schema `name` wants it.
    pub fn validate(&self, name: &str, value: &Value) -> Result<(), String> {
        let validator = self.validators.get(name).ok_or_else(|| format!("there is no schema {name:?}"))?;
        let faults: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("  at {:?}: {error}", error.instance_path().to_string()))
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(format!("not a valid {name}:\n{}\nin {value:#}", faults.join("\n"))),
        }
    }
}

/// Where the schemas are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// Every JSON document below `folder` by its path without `.json`, a folder `examples` in it left out.
pub fn documents(folder: &Path) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Value>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() && !path.ends_with("examples") {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.strip_prefix(root).expect("below the root").with_extension("");
            found.insert(name.to_string_lossy().into_owned(), read(&path));
        }
    }
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn id_of(document: &Value) -> &str {
    document["$id"].as_str().expect("a schema has an $id")
}
