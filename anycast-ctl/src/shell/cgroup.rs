//! How much memory the control group of this process may have. The kernel accounts BPF maps there, and who takes more
//! is killed without a word.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What version 1 has for no limit is about that, by the size of a page.
const NO_LIMIT: u64 = 1 << 60;

/// The octets that the process may take together with others of its groups. `None`: as many as the machine has, or
/// that cannot be told.
pub(super) fn limit() -> Option<u64> {
    let read = |path| fs::read_to_string(path).ok();
    let groups = read("/proc/self/cgroup")?;
    let mounts = read("/proc/self/mountinfo")?;
    let (top, group, file) = place(&groups, &mounts)?;
    let of = |directory: &Path| octets(&fs::read_to_string(directory.join(file)).ok()?);
    // In a container the top of what is mounted may be its own group.
    group
        .ancestors()
        .take_while(|directory| directory.starts_with(&top))
        .filter_map(of)
        .min()
}

fn octets(text: &str) -> Option<u64> {
    let octets = text.trim().parse().ok()?;
    (octets < NO_LIMIT).then_some(octets)
}

/// Where the hierarchy with the limits of memory is mounted, the directory of our group there, and the file that has
/// the limit: of version 2, or of version 1 where that has the memory controller.
fn place(groups: &str, mounts: &str) -> Option<(PathBuf, PathBuf, &'static str)> {
    let mounted = |kind: &str, option: &str| {
        let mut lines = mounts.lines();
        lines.find_map(|line| {
            let (about, rest) = line.split_once(" - ")?;
            let mut rest = rest.split(' ');
            let is_kind = rest.next() == Some(kind);
            let mut options = rest.nth(1)?.split(',');
            let has = option.is_empty() || options.any(|had| had == option);
            (is_kind && has).then(|| about.split(' ').nth(4).map(PathBuf::from))?
        })
    };
    let own = |is_memory: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            is_memory(controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let first = own(&|controllers| controllers.split(',').any(|name| name == "memory"));
    let (top, path, file) = match first {
        Some(path) => (mounted("cgroup", "memory")?, path, "memory.limit_in_bytes"),
        None => (mounted("cgroup2", "")?, own(&str::is_empty)?, "memory.max"),
    };
    let group = top.join(path);
    Some((top, group, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_in_either_version() {
        let second = "24 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let first = "31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let unified = second.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified");
        for (groups, mounts, wanted) in [
            (
                "0::/system.slice/anycast.service\n",
                second.to_owned(),
                Some((
                    "/sys/fs/cgroup",
                    "/sys/fs/cgroup/system.slice/anycast.service",
                    "memory.max",
                )),
            ),
            (
                "5:cpu:/\n4:memory:/unit\n0::/\n",
                unified.clone() + first,
                Some((
                    "/sys/fs/cgroup/memory",
                    "/sys/fs/cgroup/memory/unit",
                    "memory.limit_in_bytes",
                )),
            ),
            ("5:cpu:/\n", unified + first, None),
            ("0::/\n", String::new(), None),
        ] {
            let wanted =
                wanted.map(|(top, group, file)| (PathBuf::from(top), PathBuf::from(group), file));
            assert_eq!(place(groups, &mounts), wanted, "{groups}");
        }
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(octets("67108864\n"), Some(64 << 20));
        assert_eq!(octets("max\n"), None);
        assert_eq!(octets("9223372036854771712\n"), None);
    }
}
