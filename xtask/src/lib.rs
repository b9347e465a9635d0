//! What a person does with this repository, as a library.

pub mod lab;
pub mod net;

use std::path::{Path, PathBuf};

/// The root of the workspace that this library was built in.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
