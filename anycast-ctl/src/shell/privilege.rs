//! Checks the privileges of the process before it changes anything.

/// Capabilities that the daemon needs, by number (`linux/capability.h`).
const NEEDED: [(u32, &str); 4] = [
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// The process lacks capabilities that the daemon needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not permitted: run as root, or with {needed} (missing: {missing})")]
pub struct NotPrivileged {
    needed: String,
    missing: String,
}

/// Checks the effective capabilities of this process.
pub fn check() -> Result<(), NotPrivileged> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    judge(&status)
}

fn judge(status: &str) -> Result<(), NotPrivileged> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Where /proc is missing, the kernel itself will refuse what is not permitted.
    let Some(effective) = effective else {
        return Ok(());
    };
    let names = |keep: &dyn Fn(u32) -> bool| {
        let names: Vec<&str> = NEEDED
            .iter()
            .filter(|(bit, _)| keep(*bit))
            .map(|(_, name)| *name)
            .collect();
        names.join(" ")
    };
    let missing = names(&|bit| effective & (1 << bit) == 0);
    if missing.is_empty() {
        return Ok(());
    }
    Err(NotPrivileged {
        needed: names(&|_| true),
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_passes_and_a_user_is_told_what_is_missing() {
        assert_eq!(judge("CapEff:\t000001ffffffffff\n"), Ok(()));
        assert_eq!(judge(""), Ok(()));
        let error = judge("Name:\tx\nCapEff:\t0000000000001000\n").expect_err("not enough");
        assert_eq!(
            error.to_string(),
            "not permitted: run as root, or with CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON CAP_BPF \
             (missing: CAP_NET_RAW CAP_PERFMON CAP_BPF)"
        );
    }
}
