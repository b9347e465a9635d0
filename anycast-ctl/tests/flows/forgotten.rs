//! A member whose programs and their notes are gone, for a while or for good: its daemon crashed where nothing is
//! pinned, or somebody detached them. Its host resets what comes to C then, of connections that live.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{kernel_tests::Suite, net::wait};

use super::{
    sessions::Sessions,
    site::{Mode, Plan, SOON, Site, care_of},
};

const SESSIONS: usize = 8;
/// A port on which nobody listens.
const NOBODY: u16 = 9;
const HELD: &str = "flow_reset_held";
const OPEN_AGAIN: &str = "flow_trial_unanswered";

pub fn tests(mut suite: Suite) -> Suite {
    for mode in [None, Some(Mode::Native), Some(Mode::Tcx)] {
        let how = mode.map_or("without us", Mode::name);
        let name = format!("sessions outlive the programs of their member, {how}");
        suite = suite.test(name, move || {
            let mut site = Site::up(Plan::new(2, mode))?;
            forgotten(&mut site).with_context(|| site.logs())
        });
    }
    suite
}

fn forgotten(site: &mut Site) -> Result<()> {
    site.route(&[0])?;
    let mut sessions = Sessions::open(site, SESSIONS)?;
    sessions.beat()?;
    if site.plan.mode.is_none() {
        return go_on(sessions, "without us");
    }
    sessions.wait_bound(site, SOON)?;
    // They exchange data meanwhile.
    site.restart("s1", true)?;
    let broken = sessions.exchange(Duration::ZERO)?;
    broken.none("while the programs were gone")?;
    let held = site.counter(HELD)?;
    ensure!(held > 0, "the host of the member has reset nothing");
    let opened = site.counter(OPEN_AGAIN)?;
    // For good: what C does not know goes by B, and plain anycast is what there is.
    site.lose("s1")?;
    let broken = sessions.exchange(Duration::ZERO)?;
    broken.none("when the programs were gone for good")?;
    ensure!(site.counter(OPEN_AGAIN)? > opened, "no flow is open again");
    refused(site)?;
    go_on(sessions, "by plain anycast")
}

/// The control: a reset of the member's host that belongs to no flow by C is not held, and comes to the client.
fn refused(site: &Site) -> Result<()> {
    let to = SocketAddr::from((care_of(0), NOBODY));
    let said = site.client.run(|| {
        let said = TcpStream::connect_timeout(&to, wait::patience(SOON));
        Ok(said.map(drop).map_err(|error| error.kind()))
    })?;
    ensure!(said == Err(ErrorKind::ConnectionRefused), "{said:?}");
    Ok(())
}

fn go_on(mut sessions: Sessions, how: &str) -> Result<()> {
    let broken = sessions.exchange(Duration::from_millis(500))?;
    broken.none(how)?;
    let ends = sessions.finish()?;
    ensure!(ends.broken.is_empty(), "{ends:?}");
    Ok(())
}
