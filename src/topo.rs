//! `coregate topo`: moves a topology between stores.
use crate::Failure;
use crate::cli::Topo;
use coregate_controlplane::EtcdConfig;
use coregate_controlplane::topo::{self, Document, Done, Place};
use std::io::Read;
use std::path::Path;

pub(crate) fn run(command: &Topo) -> Result<(), Failure> {
    match command {
        Topo::Export { store, output, yaml } => export(store, output.as_deref(), *yaml),
        Topo::Import { source, store, replace, dry_run, json } => {
            import(source, store, *replace, *dry_run, *json)
        }
    }
}

fn place(text: &str) -> Result<Place, Failure> {
    Place::parse(text).map_err(Failure::Usage)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

fn export(store: &str, output: Option<&Path>, yaml: bool) -> Result<(), Failure> {
    let document = topo::export(&place(store)?)?;
    let text = match yaml || output.is_some_and(is_yaml) {
        true => serde_yaml_ng::to_string(&document).map_err(|e| e.to_string()),
        false => serde_json::to_string_pretty(&document)
            .map(|text| text + "\n")
            .map_err(|e| e.to_string()),
    };
    let text = text.map_err(Failure::Failed)?;
    match output {
        Some(path) => Ok(topo::write_private(path, &text)?),
        None => crate::ctl::say(text.trim_end_matches('\n')),
    }
}

/// A document's text: `-` is standard input. JSON is YAML, too.
fn document(source: &str) -> Result<Document, Failure> {
    let fail = |why: String| Failure::Usage(format!("{source}: {why}"));
    let mut text = String::new();
    match source {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        path => std::fs::read_to_string(path).map(|read| text = read),
    }
    .map_err(|e| fail(e.to_string()))?;
    if text.trim_start().starts_with('{') {
        let mut reader = serde_json::Deserializer::from_str(&text);
        return serde_path_to_error::deserialize(&mut reader)
            .map_err(|e| fail(format!("{}: {}", e.path(), e.inner())));
    }
    let reader = serde_yaml_ng::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(reader)
        .map_err(|e| fail(format!("{}: {}", e.path(), e.inner())))
}

fn import(source: &str, store: &str, replace: bool, dry: bool, json: bool) -> Result<(), Failure> {
    if !EtcdConfig::is_url(store) && (store == "-" || Path::new(store).is_file()) {
        return Err(Failure::Usage(format!(
            "{store}: a topology is imported into a directory or etcd://HOST:PORT; coregate topo \
                export writes documents"
        )));
    }
    let is_store = EtcdConfig::is_url(source) || Path::new(source).is_dir();
    let document = match is_store {
        true => topo::export(&place(source)?)?,
        false => document(source)?,
    };
    let steps = topo::import(&document, &place(store)?, replace, dry)?;
    if json {
        return crate::ctl::say(&serde_json::to_string_pretty(&steps).unwrap_or_default());
    }
    let mut lines = Vec::new();
    for step in steps {
        let word = match (step.done, dry) {
            (Done::Created, false) => "created",
            (Done::Created, true) => "would be created",
            (Done::Replaced, false) => "replaced",
            (Done::Replaced, true) => "would be replaced",
            (Done::Unchanged, _) => "is the same already",
        };
        lines.push(format!("{}: {word}", step.what));
    }
    crate::ctl::say(&lines.join("\n"))
}
