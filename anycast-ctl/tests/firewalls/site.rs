//! The lab, with and without a gateway.

use std::time::Duration;

use anyhow::Result;
use xtask::{
    lab::{
        scenario::{ASK_AGAIN, SOON},
        stage::Lab,
        topology::B,
        visitor::Visitor,
    },
    net::wait,
};

/// For transfers.
pub const LONG: Duration = Duration::from_secs(60);

/// How a gateway is configured: a word of the example, and what takes its place.
pub type Setting = (&'static str, &'static str);

/// The kernel forwards.
pub const TCX: Setting = ("mode = \"auto\"", "mode = \"tcx\"");
/// So it does here.
pub const KERNEL: Setting = ("mode = \"auto\"", "mode = \"native\"\nforward = \"kernel\"");
/// XDP forwards what is bound.
pub const NATIVE: Setting = ("mode = \"auto\"", "mode = \"native\"");

/// Router and members, without a gateway. Links are as the kernel makes them, with all offloads on.
pub fn plain(lab: &mut Lab) -> Result<()> {
    for node in ["router", "s1", "s2"] {
        lab.configure(node, TCX.0, TCX.1)?;
    }
    lab.start(&["router"])?;
    lab.start(&["s1", "s2"])?;
    lab.network.offload()?;
    wait::poll(SOON, ASK_AGAIN, "both are members", || {
        Ok((lab.daemon("router")?.list("members")?.len() == 2).then_some(()))
    })?;
    lab.routes.wait(SOON, "a route to B", (B, 128), |routes| {
        (!routes.is_empty()).then_some(())
    })?;
    Ok(())
}

/// The gateway as well.
pub fn gateway(lab: &mut Lab, (word, instead): Setting) -> Result<()> {
    lab.configure("gateway", word, instead)?;
    if (word, instead) == NATIVE {
        // Open checksums are not for XDP.
        lab.network.wire()?;
        lab.start(&["gateway"])?;
    } else {
        lab.start(&["gateway"])?;
        lab.network.offload()?;
    }
    // They have found that the client does not know the protocol.
    for member in ["s1", "s2"] {
        lab.daemon(member)?.tell(&["flush", "--all"])?;
    }
    Ok(())
}

/// Waits until the gateway has a binding.
pub fn bound(lab: &Lab) -> Result<()> {
    wait::poll(SOON, ASK_AGAIN, "the client is bound", || {
        Ok((!lab.daemon("gateway")?.list("bindings")?.is_empty()).then_some(()))
    })
}

/// A session with the service that ends in order.
pub fn finish(mut visitor: Visitor) -> Result<()> {
    visitor.tell("finish")?;
    visitor.event("finished", SOON).map(drop)
}

/// One of the gateway's counters.
pub fn count(lab: &Lab, name: &str) -> Result<u64> {
    lab.daemon("gateway")?.counter("data_plane", name)
}
