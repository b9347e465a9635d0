//! What commands print with `--json`, against the schemas that are shipped, by another implementation of JSON Schema.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::process;

/// Why nothing can be compared with its schema here, if so.
pub fn obstacle() -> Option<&'static str> {
    let found = process::find("jsonschema");
    found
        .is_none()
        .then_some("python3-jsonschema is not installed")
}

/// Compares what a command printed with its schema. `directory` is for a file meanwhile.
pub fn validate(directory: &Path, command: &str, printed: &str) -> Result<()> {
    let file = directory.join("printed.json");
    fs::write(&file, printed)?;
    let name = command.replace(' ', "-");
    let schema = crate::workspace().join(format!("docs/schema/v1/{name}.json"));
    let mut jsonschema = Command::new("jsonschema");
    let output = jsonschema.arg("-i").arg(&file).arg(schema).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success(), "{command}: {said}");
    Ok(())
}
