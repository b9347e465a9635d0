//! The first file system of a guest: this program as its first process, test programs with the libraries that
//! they need, and the modules that networks need. An archive in cpio's "newc" format, as the kernel unpacks it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use cpio::newc;

use super::package::Unpacked;
use crate::process;

const LIMIT: Duration = Duration::from_secs(120);
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;

/// Which of a kernel's modules come along: networks, and what these lean on. modprobe loads what is asked for.
const MODULES: [&str; 14] = [
    "kernel/net",
    "kernel/lib",
    "kernel/crypto",
    "kernel/arch/x86/crypto",
    "kernel/drivers/net/bonding",
    "kernel/drivers/net/wireguard",
    "kernel/drivers/net/team",
    "kernel/drivers/net/ipvlan",
    "kernel/drivers/net/vxlan",
    "kernel/drivers/net/ppp",
    "kernel/drivers/net/slip",
    "kernel/drivers/net/vmxnet3",
    "kernel/drivers/net/ethernet/intel/e1000e",
    "kernel/drivers/ptp",
];

/// An archive in the making.
pub(crate) struct Archive {
    out: BufWriter<File>,
    there: BTreeSet<PathBuf>,
    inode: u32,
}

impl Archive {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("{}", path.display()))?;
        Ok(Self {
            out: BufWriter::new(file),
            there: BTreeSet::new(),
            inode: 0,
        })
    }

    /// A folder, with those that it is in.
    pub(crate) fn folder(&mut self, path: &Path) -> Result<()> {
        let mut folder = PathBuf::new();
        for part in path.components() {
            let Component::Normal(name) = part else {
                continue;
            };
            folder.push(name);
            if self.there.insert(folder.clone()) {
                self.entry(&folder, DIRECTORY, &[])?;
            }
        }
        Ok(())
    }

    /// A file with this content. `path` is that in the guest.
    pub(crate) fn file(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        let name: PathBuf = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        if self.there.insert(name.clone()) {
            self.entry(&name, FILE | mode, content)?;
        }
        Ok(())
    }

    /// A file of this machine, at the same place in the guest.
    fn same(&mut self, path: &Path) -> Result<()> {
        self.copy(path, path)
    }

    fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        let mode = fs::metadata(from)?.permissions().mode() & 0o777;
        self.file(to, mode, &content)
    }

    /// A program of this machine without its debug information, at `to` in the guest, with its libraries.
    pub(crate) fn program(&mut self, from: &Path, to: &Path, scratch: &Path) -> Result<()> {
        let stripped = scratch.join("stripped");
        let mut strip = Command::new("strip");
        strip
            .arg("--strip-debug")
            .arg("-o")
            .arg(&stripped)
            .arg(from);
        process::capture_ok(&mut strip, "strip", LIMIT)?;
        self.copy(&stripped, to)?;
        for library in libraries(from)? {
            self.same(&library)?;
        }
        Ok(())
    }

    /// Modules, and modprobe, which the kernel calls for what it lacks.
    pub(crate) fn modules(&mut self, kernel: &Unpacked, scratch: &Path) -> Result<()> {
        let base = scratch.join("modules");
        let _ = fs::remove_dir_all(&base);
        let root = base.join("lib/modules").join(&kernel.release);
        fs::create_dir_all(&root)?;
        for name in MODULES {
            copy_tree(&kernel.modules.join(name), &root.join(name))?;
        }
        copy_files(
            &kernel.modules.join("kernel/drivers/net"),
            &root.join("kernel/drivers/net"),
        )?;
        copy_files(&kernel.modules, &root)?;
        let depmod = process::find("depmod").context("there is no depmod")?;
        let mut command = Command::new(depmod);
        command.arg("-b").arg(&base).arg(&kernel.release);
        process::capture_ok(&mut command, "depmod", LIMIT)?;
        self.tree(&root, &Path::new("/lib/modules").join(&kernel.release))?;
        let modprobe = process::find("modprobe").context("there is no modprobe")?;
        let modprobe = modprobe.canonicalize()?;
        self.copy(&modprobe, Path::new("/sbin/modprobe"))?;
        for library in libraries(&modprobe)? {
            self.same(&library)?;
        }
        Ok(())
    }

    fn tree(&mut self, from: &Path, to: &Path) -> Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let to = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.tree(&entry.path(), &to)?;
            } else {
                self.copy(&entry.path(), &to)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &Path, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let length = u32::try_from(content.len()).context("a file of 4 GiB or more")?;
        let mut writer = newc::Builder::new(&name.to_string_lossy())
            .ino(self.inode)
            .mode(mode)
            .nlink(1)
            .write(&mut self.out, length);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<()> {
        newc::trailer(&mut self.out)?;
        self.out.flush()?;
        Ok(())
    }
}

/// The shared libraries of a program, and what loads them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = process::capture_ok(Command::new("ldd").arg(program), "ldd", LIMIT)?;
    let words = text.lines().filter_map(|line| {
        let found = line.split("=>").last()?;
        found.split_whitespace().next()
    });
    let paths = words.filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    copy_files(from, to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The files of a folder, without what is in folders below it.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
