//! The daemon itself: a router and a member on a veth pair, asked over their control sockets.

mod attach;
mod bpffs;
mod course;
mod descriptors;
mod memory;
mod site;

use std::process::ExitCode;

use xtask::kernel_tests::Suite;

fn main() -> ExitCode {
    let suite = Suite::new()
        .test(
            "a member joins, leaves and the route follows",
            course::member_joins,
        )
        .test("a route outlives a crash and not a shutdown", course::crash)
        .test(
            "a second daemon leaves the first alone",
            course::second_daemon,
        )
        .test(
            "signals are caught while the programs load",
            course::early_signals,
        )
        .test("an interface may come late", course::late_interface)
        .test("a mode that is chosen is explained", attach::mode)
        .test(
            "what forwards past the kernel's filters is told, before and while it does",
            attach::by_passes,
        )
        .test(
            "an MTU that the driver's XDP was not asked about has TCX",
            attach::outgrown,
        )
        .test_with_pins(
            "a foreign XDP program is left alone, and named",
            attach::foreign_program,
        )
        .test_with_pins(
            "what dead daemons have pinned is adopted or removed",
            attach::pins,
        );
    bpffs::add(memory::add(descriptors::add(suite))).run()
}
