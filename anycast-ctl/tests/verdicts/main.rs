//! Verdict tables: a packet in, a verdict and a packet out, through the real verifier and
//! `BPF_PROG_TEST_RUN`, for every kind of packet that the programs know and those just outside.

mod anew;
mod answer;
mod believed;
mod big_fragment;
mod capture;
mod correspondent;
mod device_sums;
mod differential;
mod disowned;
mod ending;
mod forward;
mod fragment;
mod full;
mod harness;
mod icmp_error;
mod icmp_fragment;
mod in_use;
mod lead;
mod led;
mod limits;
mod load;
mod member;
mod member_flow;
mod member_limits;
mod packets;
mod pair;
mod recent;
mod refused;
mod remembered;
mod router;
mod router_policy;
mod router_rate;
mod rows;
mod shared_hop;
mod short_way;
mod short_way_open;
mod short_way_tcx;
mod sizes;
mod station;
mod tcx;
mod tracing;
mod traffic;
mod trial;
mod unattended;
mod unreachable;
mod unwanted;
mod upgrade;

use xtask::kernel_tests::Suite;

fn main() -> std::process::ExitCode {
    // Routes and forwarding of this machine must not decide verdicts. Without the right to do so,
    // the suite ignores its tests anyway.
    let _ = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
    // What `cargo xtask kernels` asks in its guests.
    if let Some(mark) = std::env::var_os("ANYCAST_LOAD_REPORT") {
        return load::report(&mark.to_string_lossy());
    }
    let suite = Suite::new();
    let suite = load::tests(suite);
    let suite = sizes::tests(suite);
    let suite = router::tests(suite);
    let suite = router_policy::tests(suite);
    let suite = router_rate::tests(suite);
    let suite = refused::tests(suite);
    let suite = member::tests(suite);
    let suite = member_flow::tests(suite);
    let suite = lead::tests(suite);
    let suite = station::tests(suite);
    let suite = correspondent::tests(suite);
    let suite = led::tests(suite);
    let suite = anew::tests(suite);
    let suite = trial::tests(suite);
    let suite = remembered::tests(suite);
    let suite = recent::tests(suite);
    let suite = ending::tests(suite);
    let suite = disowned::tests(suite);
    let suite = unattended::tests(suite);
    let suite = unwanted::tests(suite);
    let suite = full::tests(suite);
    let suite = limits::tests(suite);
    let suite = member_limits::tests(suite);
    let suite = answer::tests(suite);
    let suite = forward::tests(suite);
    let suite = in_use::tests(suite);
    let suite = shared_hop::tests(suite);
    let suite = short_way::tests(suite);
    let suite = short_way_open::tests(suite);
    let suite = short_way_tcx::tests(suite);
    let suite = traffic::tests(suite);
    let suite = icmp_error::tests(suite);
    let suite = unreachable::tests(suite);
    let suite = believed::tests(suite);
    let suite = icmp_fragment::tests(suite);
    let suite = fragment::tests(suite);
    let suite = differential::tests(suite);
    let suite = upgrade::tests(suite);
    let suite = capture::tests(suite);
    // The same rules at another hook. What XDP forwards, the kernel does there.
    let rules = router::tests(Suite::new());
    let rules = router_policy::tests(rules);
    let rules = router_rate::tests(rules);
    let rules = member::tests(rules);
    let rules = member_flow::tests(rules);
    let rules = lead::tests(rules);
    let rules = station::tests(rules);
    let rules = correspondent::tests(rules);
    let rules = led::tests(rules);
    let rules = anew::tests(rules);
    let rules = trial::tests(rules);
    let rules = remembered::tests(rules);
    let rules = ending::tests(rules);
    let rules = disowned::tests(rules);
    let rules = unattended::tests(rules);
    let rules = unwanted::tests(rules);
    let rules = limits::tests(rules);
    let rules = member_limits::tests(rules);
    let rules = answer::tests(rules);
    let rules = icmp_error::tests(rules);
    let rules = unreachable::tests(rules);
    let rules = believed::tests(rules);
    let rules = icmp_fragment::tests(rules);
    let rules = fragment::tests(rules);
    let rules = differential::tests(rules);
    let suite = suite.again(rules, "TCX", harness::At::tcx);
    let suite = icmp_fragment::at_gateway(suite);
    let suite = big_fragment::tests(suite);
    let suite = tcx::tests(suite);
    device_sums::tests(suite).run()
}
