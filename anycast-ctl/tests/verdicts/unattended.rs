//! The correspondent's half of the data plane while no controller runs.

use anycast_common::abi::maps::{Flow, unattended};
use anycast_ctl::{core::Time, shell::clock};
use anyhow::{Context as _, Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{A, B, C, EARLIER, FOLLOWS, LATER, PINS, PORTS, bench, bind, row, to},
    packets::{ACK, Packet, SYN},
};

pub fn tests(suite: Suite) -> Suite {
    suite.test(
        "correspondent: without a controller, a pin that is not answered for long ends",
        abandoned,
    )
}

fn abandoned() -> Result<()> {
    let mut bench = bench()?;
    let tcp = Packet::tcp(A, B, PORTS, ACK);
    bind(&mut bench, C, LATER)?;
    let opens = Packet::tcp(A, B, PORTS, SYN);
    bench.table(&[to(C, "the binding pins it", &opens, PINS)])?;
    bind(&mut bench, C, EARLIER)?;
    let mut flows = bench.dataplane.maps().flow_reader().flows().into_iter();
    let (key, flow) = flows.next().context("a flow")?;
    let now = clock::now();
    let ago = |seconds: u64| now.as_nanos() - seconds * 1_000_000_000;
    let silent = Flow {
        last_in: ago(400),
        last_out: ago(1),
        asked_at: unattended::tick(ago(300)),
        ..flow
    };
    let abandons: &[(&str, u64)] = &[("flow_abandoned", 1)];
    let dead = Time::from_nanos(ago(121));
    let rows = [
        (
            "a controller judges it",
            Time::from_nanos(ago(100)),
            silent,
            None,
        ),
        (
            "it was answered since",
            dead,
            Flow {
                last_in: ago(1),
                ..silent
            },
            None,
        ),
        (
            "the client itself was silent",
            dead,
            Flow {
                last_out: ago(151),
                ..silent
            },
            None,
        ),
        (
            "not for so long",
            dead,
            Flow {
                asked_at: unattended::tick(ago(200)),
                ..silent
            },
            None,
        ),
        ("nobody else will end it", dead, silent, Some(abandons)),
    ];
    for (name, attended, flow, ends) in rows {
        bench.dataplane.maps().attend(attended)?;
        bench.dataplane.maps().set_flow(&key, &flow);
        bench.table(&[match ends {
            None => to(C, name, &tcp, FOLLOWS),
            Some(counts) => row(name, &tcp, counts),
        }])?;
        let left = bench.dataplane.maps().flow_reader().flows().len();
        ensure!(left == usize::from(ends.is_none()), "{name}: {left} flows");
    }
    Ok(())
}
