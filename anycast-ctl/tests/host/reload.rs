//! What a running member takes of a file that is read again, and what it names.

use std::fs;

use anyhow::{Result, ensure};

use super::site::{Lan, group, member_text, until};

fn with_check(program: &str) -> String {
    member_text(&format!(
        "health = {{ type = \"command\", command = [\"{program}\"], interval = \"100ms\", timeout = \"100ms\" }}"
    ))
}

pub fn reload() -> Result<()> {
    let lan = Lan::up()?;
    let file = lan.site.directory().join("s1.toml");
    let member = lan.node("s1", &lan.members[0], &with_check("/bin/false"))?;
    until("the service is found to be ill", || {
        Ok(group(&member)?["health"]["state"] == "unhealthy")
    })?;
    fs::write(&file, with_check("/bin/true"))?;
    let said = member.tell(&["reload"])?;
    ensure!(said.trim() == "reloaded", "{said}");
    until("the other check passes", || {
        Ok(group(&member)?["joined"] == true)
    })?;

    let more = with_check("/bin/true") + "care_of = \"2001:db8:20::c1\"\n";
    fs::write(&file, more.replace("robustness = 1", "robustness = 3"))?;
    let said = member.tell(&["reload"])?;
    let expected = "reloaded; needs a restart: member.group, member.listener";
    ensure!(said.trim() == expected, "{said}");

    // A wrong file changes nothing, though what is right in it could be taken.
    fs::write(&file, with_check("/bin/false") + "anycaste = \"\"\n")?;
    let refused = member.tell(&["reload"]);
    let reason = refused.err().map(|error| format!("{error:#}"));
    ensure!(
        reason
            .as_ref()
            .is_some_and(|reason| reason.contains("did you mean `anycast`?")),
        "{reason:?}"
    );
    let passed = || member.counter("controller", "health_check_passed");
    let before = passed()?;
    until("the check passes as before", || Ok(passed()? > before + 3))?;
    ensure!(group(&member)?["joined"] == true, "{}", group(&member)?);
    Ok(())
}
