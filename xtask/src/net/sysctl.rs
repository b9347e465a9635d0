//! Settings under `/proc/sys/net`. The kernel shows those of the network namespace of the thread that opens the file.

use std::fs;

use anyhow::{Context as _, Result};

use super::namespace::Namespace;

/// Writes settings. Their names are paths below `/proc/sys/net/`.
pub fn set(namespace: &Namespace, settings: &[(&str, &str)]) -> Result<()> {
    namespace.run(|| {
        for (name, value) in settings {
            fs::write(format!("/proc/sys/net/{name}"), value)
                .with_context(|| format!("cannot set net/{name} to {value}"))?;
        }
        Ok(())
    })
}
