//! Every program passes the verifier, for every union of roles.

use anycast_common::abi::{programs, roles};
use anyhow::{Context as _, Result};
use xtask::kernel_tests::Suite;

use crate::harness::Bench;

pub fn tests(suite: Suite) -> Suite {
    suite.test(
        "every program loads, for every union of roles",
        every_program,
    )
}

fn every_program() -> Result<()> {
    let all = roles::ROUTER | roles::MEMBER | roles::CORRESPONDENT;
    let mut bench = Bench::new(all, true)?;
    for roles in 0..=all {
        bench
            .dataplane
            .xdp(roles)
            .with_context(|| programs::XDP[usize::from(roles)])?;
    }
    bench.dataplane.egress()?;
    for roles in 1..=all {
        bench
            .dataplane
            .tcx(roles)
            .with_context(|| programs::TCX[usize::from(roles)])?;
        if roles != roles::ROUTER {
            bench.dataplane.tcx_egress(roles)?;
        }
    }
    Ok(())
}
