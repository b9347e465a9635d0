//! The JSON Schema of what each command prints with `--json`, made from the types themselves.

use std::{fs, path::Path};

use schemars::{JsonSchema, generate::SchemaSettings};

use super::{monitor, view};

/// Raised when a field goes or means something else. A new field is no new version: readers leave out what they do not
/// know.
const VERSION: u32 = 1;

fn schema<T: JsonSchema>(command: &str) -> (String, String) {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert(
        "title".to_owned(),
        format!("anycast-ctl {command} --json").into(),
    );
    schema.insert("version".to_owned(), VERSION.into());
    let text = serde_json::to_string_pretty(&schema).expect("JSON");
    (
        format!("{}.json", command.replace(' ', "-")),
        format!("{text}\n"),
    )
}

fn schemas() -> Vec<(String, String)> {
    vec![
        schema::<view::Checked>("check"),
        schema::<view::Doctor>("doctor"),
        schema::<view::Status>("status"),
        schema::<Vec<view::Problem>>("status --check"),
        schema::<view::Groups>("groups"),
        schema::<Vec<view::Member>>("members"),
        schema::<view::Policy>("policy list"),
        schema::<view::PolicyChanged>("policy add"),
        schema::<view::PolicyChanged>("policy remove"),
        schema::<Vec<view::Explanation>>("policy explain"),
        schema::<view::PolicyChanged>("reload"),
        schema::<view::Refusals>("refusals"),
        schema::<Vec<view::Binding>>("bindings"),
        schema::<Vec<view::Handshake>>("handshakes"),
        schema::<Vec<view::Flow>>("flows"),
        schema::<view::ClientExplained>("explain"),
        schema::<view::Flushed>("flush"),
        schema::<view::Fleet>("fleet"),
        schema::<view::Fleet>("fleet forget"),
        schema::<view::FleetSecret>("fleet secret"),
        schema::<view::Detached>("detach"),
        schema::<view::Captured>("capture"),
        schema::<view::Counters>("counters"),
        // Each line.
        schema::<monitor::Told>("monitor"),
        schema::<view::Done>("join"),
        schema::<view::Done>("leave"),
        schema::<Vec<view::MemberGroup>>("drain"),
        schema::<Vec<view::MemberGroup>>("undrain"),
    ]
}

/// With `ANYCAST_WRITE_DOCS` set, the files are written anew.
#[test]
fn the_schemas_that_are_shipped_are_those_of_the_types() {
    let directory = format!("{}/../docs/schema/v{VERSION}", env!("CARGO_MANIFEST_DIR"));
    let directory = Path::new(&directory);
    let schemas = schemas();
    if std::env::var_os("ANYCAST_WRITE_DOCS").is_some() {
        fs::create_dir_all(directory).expect("made");
        for (name, text) in &schemas {
            fs::write(directory.join(name), text).expect("written");
        }
    }
    for (name, text) in &schemas {
        let there = fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert_eq!(
            &there, text,
            "{name}: run this test with ANYCAST_WRITE_DOCS=1"
        );
    }
    let there = fs::read_dir(directory).expect("there").count();
    assert_eq!(there, schemas.len(), "files of commands that are not there");
}
