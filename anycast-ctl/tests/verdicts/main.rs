//! Verdict tables: a packet in, a verdict and a packet out, through the real verifier and
//! `BPF_PROG_TEST_RUN`, for every kind of packet that the programs know and those just outside.

mod correspondent;
mod differential;
mod forward;
mod fragment;
mod harness;
mod icmp_error;
mod limits;
mod load;
mod member;
mod packets;
mod refused;
mod router;
mod sizes;
mod unattended;

fn main() -> std::process::ExitCode {
    // Routes and forwarding of this machine must not decide verdicts. Without the right to do so,
    // the suite ignores its tests anyway.
    let _ = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
    let suite = xtask::kernel_tests::Suite::new();
    let suite = load::tests(suite);
    let suite = sizes::tests(suite);
    let suite = router::tests(suite);
    let suite = refused::tests(suite);
    let suite = member::tests(suite);
    let suite = correspondent::tests(suite);
    let suite = unattended::tests(suite);
    let suite = limits::tests(suite);
    let suite = forward::tests(suite);
    let suite = icmp_error::tests(suite);
    let suite = fragment::tests(suite);
    differential::tests(suite).run()
}
