//! What an earlier run has left, and sessions use, though the configuration has it no more.

use std::net::Ipv6Addr;

use anycast_common::{
    abi::maps::{FlowKey, MemberFlow, stage},
    wire::ipv6,
};
use anycast_ctl::shell::clock;
use anyhow::{Result, ensure};
use xtask::{kernel_tests::Suite, net::netlink};
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
    suite
        .test("a restart keeps addresses that sessions use", addresses)
        .test("detach removes the addresses of a daemon", detached)
}

/// The host would else take packets to B for itself, and keep C from another machine.
fn detached() -> Result<()> {
    let lan = Lan::up()?;
    let [host, _] = &lan.members;
    let c = care_of(1);
    let there = || anyhow::Ok((has(host, "lo", B)?, has(host, "eth0", c)?));
    let others: Ipv6Addr = "2001:db8:a::99".parse()?;
    netlink::address(host, "lo", others, 128)?;
    let mut member = lan.member(0, &format!("care_of = \"{c}\"\nassign = true"))?;
    until("B and C are there", || Ok(there()? == (true, true)))?;
    let detach = || -> Result<(bool, String)> {
        let program = env!("CARGO_BIN_EXE_anycast-ctl");
        let output = host.command(program).arg("detach").output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    };
    ensure!(!detach()?.0, "a daemon runs");
    ensure!(there()? == (true, true), "under a daemon that runs");
    member.kill()?;
    ensure!(there()? == (true, true), "they went with the daemon");
    let (done, said) = detach()?;
    ensure!(done && said.ends_with(", 2 addresses removed\n"), "{said}");
    ensure!(there()? == (false, false), "they are still there");
    ensure!(has(host, "lo", others)?, "that of others is gone");
    let (done, said) = detach()?;
    ensure!(done && said == "nothing was attached\n", "{said}");
    Ok(())
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
