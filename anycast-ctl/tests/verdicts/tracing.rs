//! Whether programs may look at others on this machine.

use std::path::Path;

use aya::{programs::ProgramType, sys::is_program_supported};

/// Why nothing is captured here, if so.
pub fn obstacle() -> Option<&'static str> {
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("this kernel does not tell its types (BTF)")
    } else if !is_program_supported(ProgramType::Tracing).unwrap_or(false) {
        Some(
            "this machine permits no BPF programs that look at others; cargo xtask kernels runs it",
        )
    } else {
        None
    }
}
