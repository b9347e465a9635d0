//! The commands for working on this repository, as a library. `src/main.rs` is only the command line.
//!
//! The tests of `anycast-ctl` use it as well, for their network namespaces and for [`kernel_tests`].

pub mod bench;
pub mod build;
pub mod cross;
pub mod deny;
pub mod doctor;
pub mod fuzz;
pub mod json_schema;
pub mod kernel_tests;
pub mod kernels;
pub mod lab;
pub mod lint;
pub mod net;
pub mod nics;
pub mod package;
pub mod privilege;
pub mod probe;
pub mod process;
pub mod run;
pub mod test;
pub mod toolchain;

use std::path::{Path, PathBuf};

/// Root directory of the workspace in which this library was built.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
