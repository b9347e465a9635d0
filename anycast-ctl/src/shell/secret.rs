//! The file of a fleet's secret.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::libc;
use rand::{TryRng as _, rngs::SysRng};
use zeroize::Zeroizing;

use crate::core::fleet::{Secret, SecretError};

/// Longest file in octets.
const LONGEST: usize = 4096;
/// Random octets of a secret that is made here.
const RANDOM: usize = 32;

/// A secret that cannot be used, with its file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct Error {
    file: PathBuf,
    reason: Reason,
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Other users may have read or written the file.
    #[error("it must be a file of root that nobody else can read or write: chmod 600, chown root")]
    NotRootAlone,
    /// The file is no secret.
    #[error("it has more than {LONGEST} octets")]
    TooLong,
    /// The secret could be guessed.
    #[error("{0}; `anycast-ctl fleet secret FILE` makes one")]
    Weak(#[from] SecretError),
    /// The operating system has no random numbers.
    #[error("no random numbers: {0}")]
    NoRandom(rand::rngs::SysError),
}

/// Reads a secret. White space at its end does not count.
pub(super) fn read(path: &Path) -> Result<Secret, Error> {
    let read = || -> Result<Secret, Reason> {
        let mut options = OpenOptions::new();
        // A named pipe must not make the daemon wait.
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let about = file.metadata()?;
        let own = about.uid() == nix::unistd::geteuid().as_raw();
        if !about.is_file() || !own || about.mode() & 0o077 != 0 {
            return Err(Reason::NotRootAlone);
        }
        // Never moved while it grows, which would leave a secret behind.
        let mut text = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        file.take(LONGEST as u64 + 1).read_to_end(&mut text)?;
        if text.len() > LONGEST {
            return Err(Reason::TooLong);
        }
        Ok(Secret::new(text.trim_ascii_end())?)
    };
    read().map_err(at(path))
}

/// Makes a secret: a new file for root alone, with random octets as text. Gives the secret.
pub fn create(path: &Path) -> Result<Secret, Error> {
    let create = || -> Result<(), Reason> {
        let mut random = Zeroizing::new([0; RANDOM]);
        SysRng
            .try_fill_bytes(&mut *random)
            .map_err(Reason::NoRandom)?;
        let mut text = Zeroizing::new(String::with_capacity(2 * RANDOM + 1));
        for octet in *random {
            let _ = write!(text, "{octet:02x}");
        }
        text.push('\n');
        let mut options = OpenOptions::new();
        let mut file: File = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        Ok(file.sync_all()?)
    };
    create().map_err(at(path))?;
    read(path)
}

fn at<R: Into<Reason>>(path: &Path) -> impl FnOnce(R) -> Error {
    let file = path.to_owned();
    |reason| Error {
        file,
        reason: reason.into(),
    }
}

/// A fingerprint as people compare it.
#[must_use]
pub fn fingerprint(secret: &Secret) -> String {
    let octets = secret.fingerprint();
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may abort")]

    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("anycast-secret-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_secret_that_is_made_can_be_read_and_is_another_one_each_time() {
        let place = Place::new("made");
        let (first, second) = (place.0.join("first"), place.0.join("second"));
        let made = create(&first).unwrap();
        assert_eq!(fs::metadata(&first).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            read(&first).unwrap().fingerprint(),
            made.fingerprint(),
            "what was written is what is read"
        );
        assert_ne!(create(&second).unwrap().fingerprint(), made.fingerprint());
        let again = create(&first).unwrap_err();
        assert!(matches!(again.reason, Reason::Io(_)), "{again}");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let place = Place::new("open");
        let file = place.0.join("secret");
        create(&file).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o622] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&file).unwrap_err();
            assert!(matches!(error.reason, Reason::NotRootAlone), "{error}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        read(&file).unwrap();
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let place = Place::new("weak");
        let file = place.0.join("secret");
        create(&file).unwrap();
        // White space does not make it longer.
        fs::write(&file, format!("{:31}{:40}\n", "short", "")).unwrap();
        assert!(matches!(read(&file).unwrap_err().reason, Reason::Weak(_)));
        fs::write(&file, vec![7; LONGEST + 1]).unwrap();
        assert!(matches!(read(&file).unwrap_err().reason, Reason::TooLong));
        fs::remove_file(&file).unwrap();
        assert!(matches!(read(&file).unwrap_err().reason, Reason::Io(_)));
    }
}
