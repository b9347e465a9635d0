//! Other settings at run time.

use super::*;

const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
const CHECKS: HealthSettings = HealthSettings {
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(2),
    rise: 1,
    fall: 1,
    presumed: false,
};

impl Bench {
    pub(super) fn reconfigure(&mut self, now: Time, settings: Settings) -> Output {
        self.run(|member, actions| member.reconfigure(now, settings, actions))
    }

    fn is_joined(&self, anycast: Ipv6Addr) -> Option<bool> {
        let groups = self.0.groups(at(0)).into_iter();
        let mut groups = groups.filter(|group| group.anycast == anycast);
        groups.next().map(|group| group.wanted)
    }
}

/// The first group with another care-of address, or none.
fn without(group: bool, care_of: Option<Ipv6Addr>) -> Settings {
    let mut settings = settings();
    settings.groups[0].care_of = care_of;
    if group {
        settings.groups.remove(0);
    }
    settings
}

fn dones(output: &Output) -> Vec<(u32, mld::Message)> {
    let mld = output.mld().into_iter();
    mld.map(|(ifindex, _, _, message)| (ifindex, message))
        .collect()
}

#[test]
fn a_group_that_goes_is_left_and_its_bindings_are_deleted() {
    let mut bench = Bench::joined();
    for (ifindex, name) in [(1, "eth0"), (2, "eth1")] {
        bench.run(|member, actions| member.link(at(0), &link(ifindex, name), actions));
    }
    let (home, care_of) = bench.packet_of(at(0), CLIENT).cookies();
    bench.home_test(at(0), home);
    assert!(bench.care_of_test(at(0), care_of).update().0.lifetime > 0);
    assert_eq!(
        bench.reconfigure(at(1), settings()),
        Output(vec![]),
        "the same"
    );
    let output = bench.reconfigure(at(1), without(true, None));
    let done = mld::Message::Done { address: ANYCAST };
    assert_eq!(dones(&output), [(1, done), (2, done)]);
    assert_eq!(output.update().0.lifetime, 0);
    assert!(!bench.0.has(ANYCAST) && bench.0.has(PLAIN));
    // It comes back as a new one.
    bench.reconfigure(at(2), settings());
    assert_eq!(bench.is_joined(ANYCAST), Some(false));
    bench.run(|member, actions| member.join(at(2), ANYCAST, actions).unwrap());
    bench.packet_of(at(3), CLIENT).cookies();
}

#[test]
fn clients_are_bound_to_the_new_care_of_address() {
    let mut bench = Bench::joined();
    bench.tested(at(0));
    let output = bench.reconfigure(at(1), without(false, Some(OTHER)));
    assert_eq!(output.update().0.lifetime, 0);
    assert_eq!(bench.is_joined(ANYCAST), Some(true));
    let sent = bench.packet_of(at(20_000), CLIENT).mobility();
    let sources: Vec<_> = sent.iter().map(|sent| sent.source).collect();
    assert_eq!(sources, [ANYCAST, OTHER]);
    // Without one, nobody is bound.
    let output = bench.reconfigure(at(20_001), without(false, None));
    let quiet = MapAction::SetLocalAnycast {
        anycast: ANYCAST,
        report_clients: false,
    };
    assert!(output.0.contains(&Action::Map(quiet)), "{output:?}");
    assert_eq!(bench.packet_of(at(40_000), CLIENT).mobility(), []);
}

#[test]
fn an_interface_that_goes_is_told_and_one_that_comes_reports() {
    let mut bench = Bench::joined();
    for (ifindex, name) in [(1, "eth0"), (2, "eth1")] {
        bench.run(|member, actions| member.link(at(0), &link(ifindex, name), actions));
    }
    let mut one = settings();
    one.groups[0].interfaces.pop();
    let output = bench.reconfigure(at(1), one);
    let done = mld::Message::Done { address: ANYCAST };
    assert_eq!(dones(&output), [(2, done)]);
    let output = bench.reconfigure(at(2), settings());
    let report = mld::Message::Report { address: ANYCAST };
    assert_eq!(dones(&output), [(2, report)]);
}

#[test]
fn checks_that_come_and_go_leave_a_member_a_member() {
    let mut bench = Bench::joined();
    bench.run(|member, actions| member.link(at(0), &link(1, "eth0"), actions));
    let mut checked = settings();
    checked.groups[0].health = Some(CHECKS);
    for _ in 0..2 {
        assert_eq!(dones(&bench.reconfigure(at(1), checked.clone())), []);
        let started = |output: &Output| {
            let start =
                |action: &Action| matches!(action, Action::Check(CheckAction::Start { .. }));
            output.0.iter().any(start)
        };
        assert!(started(&bench.poll(at(1))), "it is checked");
        let output = bench.reconfigure(at(2), settings());
        let abort = Action::Check(CheckAction::Abort { anycast: ANYCAST });
        assert_eq!(output, Output(vec![abort]));
        assert!(!started(&bench.poll(at(9_000))), "it is checked no more");
    }
}
