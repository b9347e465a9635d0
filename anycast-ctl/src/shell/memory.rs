//! The file that keeps a correspondent's nonces from an orderly shutdown until the next start.
//!
//! The file is removed before it is used. So nonces come back only together with the sequence numbers of the same
//! moment, and a later crash leaves nothing by which an attacker could replay Binding Updates. Times are of
//! `CLOCK_BOOTTIME`, which nobody can set and which runs on while the daemon does not. After a reboot the file is not
//! valid.
//!
//! Its content is `anycast nonces 2\n`, the boot id with a newline, nanoseconds of the clock (64 bits, network byte
//! order), and the state of the core.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    libc,
    time::{ClockId, clock_gettime},
};
use zeroize::Zeroizing;

use crate::core::correspondent::MemoryError;

const MAGIC: &[u8] = b"anycast nonces 2\n";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Longest file in octets, which is more than the core saves: 42 octets for each pair of client and care-of address,
/// and tables have room for millions of these.
const LONGEST: u64 = 1 << 30;

/// Why the nonces could not be kept or restored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Other users may have read or written the file.
    #[error("it must be a file of root that nobody else can read or write")]
    NotRootAlone,
    /// The file does not have this format.
    #[error("it is damaged or of another version")]
    NotOurs,
    /// The file was written before the last reboot of the machine.
    #[error("it is from before the last boot")]
    OtherBoot,
    /// The file claims to have been written in the future.
    #[error("it is from the future")]
    Future,
    /// The core refused the content.
    #[error("{0}")]
    Memory(#[from] MemoryError),
}

/// State of the core, and the time since it was saved.
type Recalled = (Zeroizing<Vec<u8>>, Duration);

/// Removes the file and gives its content. `None` if there is no file.
pub(super) fn recall(path: &Path) -> Result<Option<Recalled>, Error> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let about = file.metadata()?;
    if !about.is_file()
        || about.uid() != nix::unistd::geteuid().as_raw()
        || about.mode() & 0o077 != 0
    {
        return Err(Error::NotRootAlone);
    }
    let mut text = Zeroizing::new(Vec::new());
    // One octet more than the file has is reserved, so that the buffer never grows. Growing would leave copies of
    // secrets in memory.
    text.reserve_exact(usize::try_from(about.len().min(LONGEST)).unwrap_or(0) + 1);
    file.take(about.len().min(LONGEST)).read_to_end(&mut text)?;
    fs::remove_file(path)?;
    sync_directory(path)?;

    let rest = text.strip_prefix(MAGIC).ok_or(Error::NotOurs)?;
    let boot = boot_id()?;
    let (was, rest) = rest.split_at_checked(boot.len()).ok_or(Error::NotOurs)?;
    if was != boot {
        return Err(Error::OtherBoot);
    }
    let (time, rest) = rest.split_first_chunk().ok_or(Error::NotOurs)?;
    let written = Duration::from_nanos(u64::from_be_bytes(*time));
    let elapsed = uptime()?.checked_sub(written).ok_or(Error::Future)?;
    Ok(Some((Zeroizing::new(rest.to_vec()), elapsed)))
}

/// Writes the file, either completely or not at all.
pub(super) fn keep(path: &Path, saved: &[u8]) -> Result<(), Error> {
    let mut beside = OsString::from(path);
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let time = u64::try_from(uptime()?.as_nanos()).unwrap_or(u64::MAX);
    for part in [MAGIC, &boot_id()?, &time.to_be_bytes(), saved] {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(sync_directory(path)?)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn boot_id() -> io::Result<Vec<u8>> {
    fs::read(BOOT_ID)
}

fn uptime() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_BOOTTIME)?.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may abort")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A file and its directory for one test. Dropping it removes both.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("anycast-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }

        fn file(&self) -> PathBuf {
            self.0.join("nonces")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Whether the tests run as root. They need to, since files of other users are refused.
    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    #[test]
    fn what_is_kept_is_recalled_once() {
        let directory = Directory::new("kept");
        let file = directory.file();
        keep(&file, b"first").unwrap();
        keep(&file, b"secrets").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
        if !is_root() {
            assert!(matches!(recall(&file), Err(Error::NotRootAlone)));
            return;
        }
        let (saved, elapsed) = recall(&file).unwrap().unwrap();
        assert_eq!(*saved, b"secrets");
        assert!(elapsed < Duration::from_secs(60), "{elapsed:?}");
        assert!(!file.exists() && recall(&file).unwrap().is_none());
    }

    #[test]
    fn many_pairs_are_recalled_as_well() {
        if !is_root() {
            return;
        }
        let directory = Directory::new("many");
        let file = directory.file();
        // Of half a million pairs.
        let state: Vec<u8> = (0..42 * 500_000_u32).map(|at| (at % 251) as u8).collect();
        keep(&file, &state).unwrap();
        let (saved, _) = recall(&file).unwrap().unwrap();
        assert!(*saved == state);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = Directory::new("open");
        let file = directory.file();
        for mode in [0o640, 0o604, 0o620] {
            keep(&file, b"secrets").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(recall(&file), Err(Error::NotRootAlone)),
                "{mode:o}"
            );
        }
        keep(&directory.0.join("other"), b"secrets").unwrap();
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(directory.0.join("other"), &file).unwrap();
        assert!(matches!(recall(&file), Err(Error::Io(_))));
        if is_root() {
            fs::remove_file(&file).unwrap();
            keep(&file, b"secrets").unwrap();
            std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
            assert!(matches!(recall(&file), Err(Error::NotRootAlone)));
        }
    }

    #[test]
    fn times_and_boots_that_are_not_now_are_refused() {
        if !is_root() {
            return;
        }
        let directory = Directory::new("times");
        let file = directory.file();
        let change = |at: usize, octet: u8| {
            keep(&file, b"secrets").unwrap();
            let mut text = fs::read(&file).unwrap();
            text[at] = octet;
            fs::write(&file, text).unwrap();
            recall(&file)
        };
        let time = MAGIC.len() + boot_id().unwrap().len();
        assert!(matches!(change(time, 1), Err(Error::Future)));
        assert!(matches!(change(MAGIC.len(), b'x'), Err(Error::OtherBoot)));
        assert!(matches!(change(0, b'x'), Err(Error::NotOurs)));
        for length in 0..time + 8 {
            keep(&file, b"").unwrap();
            let text = fs::read(&file).unwrap();
            fs::write(&file, &text[..length]).unwrap();
            assert!(recall(&file).is_err(), "{length} octets");
            assert!(!file.exists(), "it is tried once");
        }
    }
}
