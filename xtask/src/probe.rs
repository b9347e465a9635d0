//! Finds out by trying whether the kernel lets this process do what the daemon does.

use std::{io, mem, os::fd::FromRawFd, os::fd::OwnedFd, thread, time::Duration};

use nix::{libc, sched, sched::CloneFlags};

use crate::{privilege::Root, process};

/// Time limit for sudo. A person may have to type a password.
const SUDO_LIMIT: Duration = Duration::from_secs(60);

// Numbers of commands of the bpf(2) system call, which never change.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 2;
/// `r0 = XDP_PASS; exit`
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
const LICENSE: &[u8; 4] = b"GPL\0";
/// Index of the loopback interface in a new network namespace.
const LOOPBACK: u32 = 1;

/// Makes a network namespace and attaches an XDP program in it, then drops both.
///
/// The error is one sentence that says which step the kernel refused, and why.
pub fn kernel() -> Result<(), String> {
    // A network namespace belongs to a thread, and is gone when the thread has ended.
    thread::spawn(|| {
        sched::unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|errno| refusal("a network namespace", errno as i32))?;
        let program = load().map_err(|e| refusal("to load an XDP program", os(&e)))?;
        attach(&program).map_err(|e| refusal("to attach an XDP program", os(&e)))?;
        Ok(())
    })
    .join()
    .unwrap_or_else(|_| Err("the probe of the kernel broke".to_owned()))
}

/// As [`kernel`], for what will run with this kind of root. Only for the xtask program, since with `sudo` it runs its
/// own hidden command.
pub fn kernel_by(root: Root) -> Result<(), String> {
    if let Some(refusal) = root.refusal() {
        return Err(refusal.to_owned());
    }
    if root == Root::Here {
        return kernel();
    }
    let what = "the probe of the kernel";
    let output = std::env::current_exe()
        .map_err(anyhow::Error::new)
        .and_then(|xtask| root.command(xtask))
        .and_then(|mut sudo| process::capture(sudo.arg("probe"), what, SUDO_LIMIT))
        .map_err(|error| format!("{error:#}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// As [`kernel`], but first checks whether this process is root.
pub fn kernel_as_root() -> Result<(), String> {
    if Root::find() == Root::Here {
        kernel()
    } else {
        Err("this process is not root".to_owned())
    }
}

fn refusal(what: &str, errno: i32) -> String {
    let error = io::Error::from_raw_os_error(errno);
    let hint = match errno {
        libc::EPERM | libc::EACCES => {
            ": root, or CAP_SYS_ADMIN, CAP_BPF and CAP_NET_ADMIN, is needed"
        }
        libc::ENOSYS | libc::EINVAL => ": the kernel is too old or lacks CONFIG_BPF_SYSCALL",
        libc::EOPNOTSUPP => ": the kernel was built without it",
        _ => "",
    };
    format!("the kernel refuses {what} ({error}){hint}")
}

fn os(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// The beginning of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

fn load() -> io::Result<OwnedFd> {
    bpf(
        BPF_PROG_LOAD,
        &ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: 2,
            insns: PASS.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
        },
    )
}

fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    bpf(
        BPF_LINK_CREATE,
        &LinkCreate {
            prog_fd: program.as_raw_fd(),
            target_ifindex: LOOPBACK,
            attach_type: BPF_XDP,
            flags: XDP_FLAGS_SKB_MODE,
        },
    )
}

/// Calls bpf(2) with a command that returns a file descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attributes` is a prefix of `union bpf_attr` of the length that is passed, its pointers are to constants,
    // and the kernel takes fields beyond the prefix as zero.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            mem::size_of::<T>(),
        )
    };
    let fd = i32::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor to this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
