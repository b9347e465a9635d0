//! Settings under `/proc/sys/net`, which show the namespace of the thread that opens them.

use std::fs;

use anyhow::{Context as _, Result};

use super::namespace::Namespace;

/// Writes settings, named as under `/proc/sys/net/`.
pub fn set(namespace: &Namespace, settings: &[(&str, &str)]) -> Result<()> {
    namespace.run(|| {
        for (name, value) in settings {
            fs::write(format!("/proc/sys/net/{name}"), value)
                .with_context(|| format!("cannot set net/{name} to {value}"))?;
        }
        Ok(())
    })
}
