use anyhow::{Result, ensure};
use xtask::{
    lab::scenario::{self, Plan},
    net::Site,
};

use super::{captures, stage::in_lab};

/// What `cargo xtask run` shows, and then what another program says about its captures.
pub(super) fn course() -> Result<()> {
    // Outlives the lab, whose captures are whole only when it has ended.
    let site = Site::claim("aclpcap")?;
    in_lab(Some(site.directory()), |lab, report| {
        scenario::play(lab, report, Plan::default())?;
        let steps: Vec<_> = report.steps().iter().map(|step| step.name).collect();
        ensure!(
            steps
                == [
                    "join", "bind", "plain", "drain", "outlive", "rebind", "attack", "routers",
                    "gateways", "silence", "close"
                ],
            "{steps:?}"
        );
        let report = report.to_json();
        ensure!(report["ok"] == true, "{report}");
        for node in ["router", "router2", "gateway", "s1", "s2", "rogue"] {
            let counters = &report["counters"][node];
            ensure!(
                counters["data_plane"].is_object(),
                "no counters of {node}: {counters}"
            );
        }
        Ok(())
    })?;
    captures::judge(site.directory())
}
