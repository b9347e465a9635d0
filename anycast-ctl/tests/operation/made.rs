//! What `cargo xtask package` makes beside the Debian package: the RPM package, the list of what is in the daemon, and
//! checksums.

use std::{
    collections::BTreeSet,
    fs::Permissions,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{net::Site, package::sbom, toolchain::crate_tool};

use super::package::{both, run};

/// Why no RPM package can be made and read beside the Debian package here, if so.
pub fn rpm_obstacle() -> Option<&'static str> {
    if xtask::package::find().is_none() {
        Some("cargo-deb is not installed: cargo xtask package does that")
    } else if ["rpm", "rpmbuild"]
        .map(xtask::process::find)
        .contains(&None)
    {
        Some("rpm is not installed")
    } else if xtask::process::find("dpkg-deb").is_none() {
        Some("dpkg is not installed")
    } else {
        None
    }
}

/// The files of a package as the other one has them: uncompressed, and where this one keeps them.
fn files_of(listed: &str) -> BTreeSet<String> {
    let names = listed.lines().filter(|name| !name.ends_with('/'));
    let own = |name: &&str| !name.contains("/licenses/") && !name.ends_with("/copyright");
    names
        .filter(own)
        .map(|name| {
            let name = name.strip_suffix(".gz").unwrap_or(name);
            name.replace("zsh/vendor-completions", "zsh/site-functions")
        })
        .collect()
}

/// The RPM package is installed in an empty directory, and has the files of the Debian package.
pub fn rpm() -> Result<()> {
    let site = Site::claim("acrpm")?;
    let root = site.directory().join("root");
    std::fs::create_dir(&root)?;
    let (debian, package) = both(site.directory())?;
    let rpm = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new("rpm");
        command
            .arg("--root")
            .arg(&root)
            .args(arguments)
            .arg(&package);
        run(&mut command)
    };
    // Of each file its kind and rights, and its name.
    let listed = rpm(&[
        "--query",
        "--package",
        "--queryformat",
        "[%{FILEMODES:perms} %{FILENAMES}\n]",
    ])?;
    let listed: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let files = listed.iter().filter(|(mode, _)| !mode.starts_with('d'));
    let files: Vec<_> = files.map(|(_, name)| *name).collect();
    let mut contents = Command::new("dpkg-deb");
    let contents = run(contents.arg("--contents").arg(debian))?;
    let names = contents.lines().filter_map(|line| line.split(" ./").nth(1));
    let names: Vec<_> = names.map(|name| format!("/{name}")).collect();
    let (ours, theirs) = (files_of(&files.join("\n")), files_of(&names.join("\n")));
    let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
    ensure!(
        differ.is_empty() && ours.len() > 50,
        "{} files, not in both: {differ:?}",
        ours.len()
    );
    for (name, rights) in [
        ("/usr/sbin/anycast-ctl", "-rwxr-xr-x"),
        ("/etc/default/anycast", "-rw-r--r--"),
        ("/usr/share/licenses/anycast", "drwxr-xr-x"),
    ] {
        ensure!(listed.contains(&(rights, name)), "{name}: {listed:?}");
    }
    let configured = rpm(&["--query", "--configfiles", "--package"])?;
    ensure!(configured.contains("/etc/default/anycast"), "{configured}");
    let wants = rpm(&["--query", "--requires", "--package"])?;
    ensure!(wants.contains("libc.so.6(GLIBC_"), "{wants}");
    // The root has no system that it depends on, and nothing to run scripts with.
    rpm(&["--install", "--nodeps", "--noscripts"])?;
    let said = run(Command::new(root.join("usr/sbin/anycast-ctl")).arg("--version"))?;
    ensure!(said.starts_with("anycast-ctl "), "{said}");
    Ok(())
}

/// Why no RPM package can be made and asked here, if so.
pub fn scripts_obstacle() -> Option<&'static str> {
    let tools = ["rpm", "rpmbuild"].map(xtask::process::find);
    tools.contains(&None).then_some("rpm is not installed")
}

/// What a scriptlet of the RPM package calls, with the number of versions that there are then: an upgrade leaves
/// programs and sessions to the new daemon, an erasure leaves nothing.
pub fn scripts() -> Result<()> {
    let site = Site::claim("acscripts")?;
    let directory = site.directory();
    // Where somebody builds may have blanks in its name.
    let daemon = directory.join("a daemon");
    symlink(env!("CARGO_BIN_EXE_anycast-ctl"), &daemon)?;
    xtask::package::generate(&daemon, directory)?;
    let package = xtask::package::rpm::make(&daemon, directory, false)?;
    let stubs = directory.join("stubs");
    let told = directory.join("told");
    std::fs::create_dir(&stubs)?;
    for name in ["systemctl", "anycast-ctl"] {
        // It fails, as where systemd does not run, which no scriptlet may care about.
        let stub = format!(
            "#!/bin/sh\necho \"{name} $*\" >> {}\nexit 1\n",
            told.display()
        );
        let stub_path = stubs.join(name);
        std::fs::write(&stub_path, stub)?;
        std::fs::set_permissions(&stub_path, Permissions::from_mode(0o755))?;
    }
    let (reload, restart) = ("systemctl daemon-reload", "systemctl try-restart anycast");
    let ends = ["systemctl disable --now anycast", "anycast-ctl detach"];
    for (scriptlet, versions, expected) in [
        ("POSTIN", 1, &[reload][..]),
        ("POSTIN", 2, &[reload]),
        ("PREUN", 0, &ends),
        ("PREUN", 1, &[]),
        ("PREUN", 2, &[]),
        ("POSTUN", 0, &[reload]),
        ("POSTUN", 1, &[reload, restart]),
        ("POSTUN", 2, &[reload, restart]),
    ] {
        let format = format!("%{{{scriptlet}PROG}}\n%{{{scriptlet}}}");
        let mut query = Command::new("rpm");
        query.args(["--query", "--package", "--queryformat", &format]);
        let script = run(query.arg(&package))?;
        let (shell, script) = script.split_once('\n').context("no scriptlet")?;
        ensure!(shell == "/bin/sh", "{scriptlet} is for {shell}");
        let path = directory.join(scriptlet);
        std::fs::write(&path, script.replace("/usr/sbin/", ""))?;
        std::fs::write(&told, "")?;
        let mut command = Command::new(shell);
        command.env_clear().env("PATH", &stubs);
        run(command.arg(path).arg(versions.to_string()))?;
        let said = std::fs::read_to_string(&told)?;
        let said: Vec<_> = said.lines().collect();
        ensure!(said == expected, "{scriptlet} {versions}: {said:?}");
    }
    Ok(())
}

/// Why nobody can list what the daemon is made of here, if so.
pub fn sbom_obstacle() -> Option<&'static str> {
    let found = crate_tool::find(sbom::TOOL);
    found.is_none().then_some(
        "cargo-cyclonedx is not installed: cargo xtask package does that, or ANYCAST_LONG=1",
    )
}

/// The list has what the daemon is made of, and nothing of tests or of the machine where it was made.
pub fn sbom() -> Result<()> {
    let tool = crate_tool::find(sbom::TOOL).context("no cargo-cyclonedx")?;
    let site = Site::claim("acsbom")?;
    let list = std::fs::read_to_string(sbom::make(&tool, site.directory())?)?;
    let workspace = xtask::workspace();
    ensure!(!list.contains(&workspace.display().to_string()), "{list}");
    let list: serde_json::Value = serde_json::from_str(&list)?;
    ensure!(list["bomFormat"] == "CycloneDX", "{list}");
    let components = list["components"].as_array().cloned().unwrap_or_default();
    let has = |name: &str| components.iter().any(|it| it["name"] == name);
    for name in ["anycast-common", "aya", "tokio", "clap"] {
        ensure!(has(name), "no {name} among {} components", components.len());
    }
    ensure!(!has("proptest"), "crates of tests are in it");
    let left = workspace.join("anycast-ctl").join("anycast.cdx.json");
    ensure!(!left.exists(), "{} is left", left.display());
    Ok(())
}

/// `SHA256SUMS` verifies what it stands beside, and that alone.
pub fn sums() -> Result<()> {
    let site = Site::claim("acsums")?;
    let directory = site.directory();
    let made: [PathBuf; 2] = both(directory)?.into();
    xtask::package::checksums(directory, &made)?;
    let check = || {
        let mut command = Command::new("sha256sum");
        command.args(["--check", "--strict", "SHA256SUMS"]);
        run(command.current_dir(directory))
    };
    let said = check()?;
    ensure!(said.lines().count() == made.len(), "{said}");
    for file in &made {
        let right = std::fs::read(file)?;
        let mut wrong = right.clone();
        *wrong.last_mut().context("an empty file")? ^= 1;
        std::fs::write(file, wrong)?;
        ensure!(check().is_err(), "{} may be another", file.display());
        std::fs::write(file, right)?;
    }
    check().map(drop)
}
