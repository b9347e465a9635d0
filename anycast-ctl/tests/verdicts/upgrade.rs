//! What becomes of sessions when a daemon of another version takes over: pinned by the programs of a release, and met
//! by those of today.
//!
//! `released` has the programs of each release by the name VERSION-LAYOUT.bpf.o.xz. With `ANYCAST_WRITE_RELEASE` set
//! the test adds those of today in the place of those of the same version, which is done when a version is released,
//! and before that when the layout has become another one, or the daemon wants more of them than they have.

use std::{
    fs,
    ops::Range,
    path::PathBuf,
    process::{Command, Stdio},
};

use anycast_common::abi::{pins::LAYOUT, roles::CORRESPONDENT};
use anycast_ctl::shell::dataplane::{Limits, Mode, OBJECT, Pins, Settings};
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{A, B, C, FOLLOWS, LATER, PORTS, bind, prepared, row, to},
    harness::{Bench, Verdict, alone_with_pins},
    packets::{ACK, Packet, SYN, address},
};

/// Index of the loopback interface, over which no packet goes here.
const LOOPBACK: u32 = 1;

pub fn tests(suite: Suite) -> Suite {
    let released = "upgrade: sessions that a release pinned go on with the programs of today";
    let suite = match xtask::process::find("xz") {
        None => suite.ignored(released, "xz is not installed"),
        Some(_) => suite.test_with_pins(released, from_release),
    };
    suite.test_with_pins(
        "upgrade: sessions of another layout take the anycast route",
        other_layout,
    )
}

fn directory() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/verdicts/released"
    ))
}

fn bench(object: &[u8]) -> Result<Bench> {
    let settings = Settings {
        roles: CORRESPONDENT,
        require_router_alert: true,
        limits: Limits::NONE,
        sizes: Default::default(),
    };
    prepared(Bench::of(object, settings, Some(Pins::claim()?))?)
}

/// The programs of this object pin a flow, and end as with a crash, or with a stop beside sessions.
fn pinned_by(object: &[u8]) -> Result<()> {
    let mut bench = bench(object)?;
    bind(&mut bench, C, LATER)?;
    let opens = Packet::tcp(A, B, PORTS, SYN);
    // Counters of another version have other numbers.
    let (verdict, frame) = bench.run(&opens.frame())?;
    let to_care_of = opens.with(|packet| packet.destination = address(C));
    ensure!(verdict == Verdict::Pass, "{verdict:?}");
    ensure!(frame == to_care_of.frame(), "the binding does not pin it");
    // What nothing is attached for is swept away.
    bench.dataplane.attach(LOOPBACK, CORRESPONDENT, Mode::Tcx)?;
    Ok(())
}

/// The programs of today find no binding, which is not taken over.
fn met_today(goes_on: bool) -> Result<()> {
    let mut bench = bench(OBJECT)?;
    let tcp = Packet::tcp(A, B, PORTS, ACK);
    let result = bench.table(&[match goes_on {
        true => to(C, "it stays with its member", &tcp, FOLLOWS),
        false => row("it takes the anycast route", &tcp, &[]),
    }]);
    let flows = bench.dataplane.maps().flow_reader().flows().len();
    bench.end()?;
    ensure!(flows == usize::from(goes_on), "{flows} flows");
    result
}

fn from_release() -> Result<()> {
    let _alone = alone_with_pins();
    if cfg!(target_endian = "big") {
        // The programs of releases are of the other kind.
        return Ok(());
    }
    write()?;
    pinned_by(OBJECT)?;
    met_today(true).context("the programs of today")?;
    let mut of_today = 0;
    for Released {
        path,
        version,
        layout,
    } in released()?
    {
        let goes_on = layout == format!("{LAYOUT:08x}");
        of_today += usize::from(goes_on);
        let object = output(Command::new("xz").arg("-dc").arg(&path))?;
        pinned_by(&object).with_context(|| {
            format!("the programs of {version}, which ANYCAST_WRITE_RELEASE=1 writes anew before its release")
        })?;
        if !goes_on {
            is_of(&layout)?;
        }
        met_today(goes_on).with_context(|| format!("{version} with layout {layout}"))?;
    }
    ensure!(
        of_today > 0,
        "no programs with layout {LAYOUT:08x} are kept: ANYCAST_WRITE_RELEASE=1 adds those of today"
    );
    Ok(())
}

/// The programs of a release.
struct Released {
    path: PathBuf,
    version: String,
    layout: String,
}

fn released() -> Result<Vec<Released>> {
    let files = fs::read_dir(directory()).context("no programs of releases")?;
    let files = files.map(|file| {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".bpf.o.xz");
        let (version, layout) = name
            .and_then(|name| name.rsplit_once('-'))
            .with_context(|| format!("{} is no VERSION-LAYOUT.bpf.o.xz", path.display()))?;
        let (version, layout) = (version.to_owned(), layout.to_owned());
        Ok(Released {
            path,
            version,
            layout,
        })
    });
    files.collect()
}

fn other_layout() -> Result<()> {
    let _alone = alone_with_pins();
    pinned_by(OBJECT)?;
    met_today(true).context("the control: the same layout")?;

    pinned_by(OBJECT)?;
    is_of(&format!("{:08x}", !LAYOUT))?;
    met_today(false)
}

/// Gives what is pinned the names that a daemon of this layout gives it.
fn is_of(layout: &str) -> Result<()> {
    let mine = format!("-{LAYOUT:08x}");
    let mut renamed = 0;
    for file in fs::read_dir(xtask::net::pins_directory()?)? {
        let path = file?.path();
        let name = path.to_string_lossy();
        if let Some(map) = name.strip_suffix(&mine) {
            fs::rename(&path, format!("{map}-{layout}"))?;
            renamed += 1;
        }
    }
    ensure!(renamed > 0, "nothing is pinned");
    Ok(())
}

/// Has the programs of today among the releases, where that is wanted.
fn write() -> Result<()> {
    if std::env::var_os("ANYCAST_WRITE_RELEASE").is_none() {
        return Ok(());
    }
    let today = env!("CARGO_PKG_VERSION");
    let path = directory().join(format!("{today}-{LAYOUT:08x}.bpf.o"));
    fs::create_dir_all(directory())?;
    for earlier in released()?.iter().filter(|it| it.version == today) {
        fs::remove_file(&earlier.path)?;
    }
    let mut object = OBJECT.to_vec();
    // Three quarters of it are for debuggers. What is as long and says nothing keeps all offsets.
    for Section { name, octets, size } in sections(&object).context("no ELF file")? {
        if name.starts_with(".debug_") || name.starts_with(".rel.debug_") {
            object[octets].fill(0);
            object[size].fill(0);
        }
    }
    // And where the sources were is nobody's business.
    let home = std::env::var("HOME").unwrap_or_default();
    for place in [xtask::workspace().to_string_lossy().into_owned(), home] {
        let place = place.trim_end_matches('/').as_bytes();
        let mut from = 0;
        while let Some(at) = position(&object[from..], place) {
            let path = object[from + at..].split_mut(|octet| *octet == 0).next();
            let path = path.context("no end")?;
            path.fill(b'/');
            from += at + path.len();
        }
    }
    fs::write(&path, object)?;
    output(Command::new("xz").args(["-9e", "--force"]).arg(&path))?;
    Ok(())
}

/// A section of an ELF file.
struct Section {
    name: String,
    octets: Range<usize>,
    /// Where its size stands.
    size: Range<usize>,
}

fn sections(object: &[u8]) -> Option<Vec<Section>> {
    let number = |at: usize, octets: usize| -> Option<usize> {
        let mut number = [0; 8];
        number[..octets].copy_from_slice(object.get(at..at + octets)?);
        usize::try_from(u64::from_le_bytes(number)).ok()
    };
    // e_shoff, e_shnum and e_shstrndx, and of each section sh_name, sh_offset and sh_size.
    let (table, count, names) = (number(40, 8)?, number(60, 2)?, number(62, 2)?);
    let start = |section: usize| number(table + 64 * section + 24, 8);
    let section = |index: usize| {
        let name = start(names)? + number(table + 64 * index, 4)?;
        let name = object.get(name..)?.split(|octet| *octet == 0).next()?;
        let from = start(index)?;
        let size = table + 64 * index + 32;
        let octets = from..from + number(size, 8)?;
        let name = String::from_utf8_lossy(name).into_owned();
        Some(Section {
            name,
            octets,
            size: size..size + 8,
        })
    };
    (0..count).map(section).collect()
}

/// Where the octets are for the first time.
fn position(within: &[u8], octets: &[u8]) -> Option<usize> {
    if octets.is_empty() {
        return None;
    }
    within
        .windows(octets.len())
        .position(|window| window == octets)
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(output.stdout)
}
