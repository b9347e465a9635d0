//! What an earlier run has left, and sessions use, though the configuration has it no more.

use std::net::Ipv6Addr;

use anycast_common::{
    abi::maps::{FlowKey, MemberFlow, stage},
    wire::ipv6,
};
use anycast_ctl::shell::clock;
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::site::{B, Lan, care_of, has, member_text, until};

/// A connection of a client that is bound to C, as the programs of a member know it.
fn session(c: Ipv6Addr) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut key = FlowKey::new_zeroed();
    key.client = "2001:db8:1::100".parse::<Ipv6Addr>()?.octets();
    key.anycast = B.octets();
    key.client_port = 40000_u16.to_be_bytes();
    key.service_port = 7777_u16.to_be_bytes();
    key.protocol = ipv6::NEXT_HEADER_TCP;
    let mut flow = MemberFlow::new_zeroed();
    flow.care_of = c.octets();
    flow.last_in = clock::now().as_nanos();
    flow.stage = stage::GOES_ON;
    Ok((key.as_bytes().to_vec(), flow.as_bytes().to_vec()))
}

pub fn tests(suite: Suite) -> Suite {
    suite.test("a restart keeps addresses that sessions use", addresses)
}

fn addresses() -> Result<()> {
    let lan = Lan::up()?;
    let [host, _] = &lan.members;
    let c = care_of(1);
    let both = || anyhow::Ok(has(host, "lo", B)? && has(host, "eth0", c)?);
    let config = format!("care_of = \"{c}\"\nassign = true");
    let other = member_text("").replace(&B.to_string(), "2001:db8:a::54");
    for goes_on in [true, false] {
        let mut member = lan.member(0, &config)?;
        until("B and C are there", both)?;
        if goes_on {
            member.fill_map("MEMBER_FLOWS", [session(c)?])?;
        }
        member.kill()?;
        let mut member = lan.node("s1", host, &other)?;
        if !goes_on {
            return until("what nobody uses goes", || {
                Ok(!has(host, "lo", B)? && !has(host, "eth0", c)?)
            });
        }
        ensure!(both()?, "a session needs them");
        let known = member.map_entry("LOCAL_CARE_OF", &c.octets())?;
        ensure!(known.is_some(), "the programs have forgotten C");
        // It outlives another restart, after which the flow ends.
        member.kill()?;
        let mut member = lan.node("s1", host, &other)?;
        ensure!(both()?, "a session needs them still");
        let (key, _) = session(c)?;
        member.fill_map(
            "MEMBER_FLOWS",
            [(key, MemberFlow::new_zeroed().as_bytes().to_vec())],
        )?;
        member.kill()?;
    }
    Ok(())
}
