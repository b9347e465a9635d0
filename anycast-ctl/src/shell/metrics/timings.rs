//! How long things take: handshakes, changes of routes, health checks.

use std::{collections::HashMap, net::Ipv6Addr, time::Instant};

use prometheus_client::metrics::histogram::Histogram;

use super::families::Families;
use crate::core::{Notice, notice::HandshakeOutcome};

/// Handshakes whose begin is remembered at the same time. Those beyond are not measured.
const UNDER_WAY: usize = 65_536;

/// Times that were measured since the daemon started.
#[derive(Debug)]
pub(in crate::shell) struct Timings {
    handshakes: Histogram,
    routes: Histogram,
    checks: Histogram,
    /// When the handshake of this client and anycast address began.
    begun: HashMap<(Ipv6Addr, Ipv6Addr), Instant>,
}

impl Timings {
    pub(in crate::shell) fn new() -> Self {
        // A handshake takes two round trips, and seconds where something is lost.
        let handshakes = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
        let routes = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0];
        let checks = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        Self {
            handshakes: Histogram::new(handshakes),
            routes: Histogram::new(routes),
            checks: Histogram::new(checks),
            begun: HashMap::new(),
        }
    }

    /// Notes when a handshake begins and when it ends.
    pub(in crate::shell) fn notice(&mut self, notice: &Notice, now: Instant) {
        match notice {
            Notice::HandshakeStarted { client, anycast } if self.begun.len() < UNDER_WAY => {
                self.begun.insert((*client, *anycast), now);
            }
            Notice::Handshake {
                client,
                anycast,
                outcome,
            } => {
                let begun = self.begun.remove(&(*client, *anycast));
                if let (Some(begun), HandshakeOutcome::Bound) = (begun, outcome) {
                    self.handshakes
                        .observe(now.duration_since(begun).as_secs_f64());
                }
            }
            _ => {}
        }
    }

    /// Measures a change of the kernel's routes.
    pub(in crate::shell) fn routes<R>(&self, change: impl FnOnce() -> R) -> R {
        let begun = Instant::now();
        let result = change();
        self.routes.observe(begun.elapsed().as_secs_f64());
        result
    }

    /// Where the times of health checks go.
    pub(in crate::shell) fn checks(&self) -> Histogram {
        self.checks.clone()
    }

    pub(in crate::shell) fn show(&self, families: &mut Families) {
        families.histogram(
            "handshake_duration_seconds",
            "Time from the Test Inits to the Binding Acknowledgement of handshakes that ended in a binding.",
            &self.handshakes,
        );
        families.histogram(
            "route_change_duration_seconds",
            "Time that the kernel took for the route changes of one step of the controller.",
            &self.routes,
        );
        families.histogram(
            "health_check_duration_seconds",
            "Time of health checks that were not given up.",
            &self.checks,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shell::metrics::Form;

    fn shows(timings: &Timings, line: &str) -> bool {
        let mut families = Families::default();
        timings.show(&mut families);
        let text = families.text(Form::OpenMetrics).expect("text");
        text.lines().any(|there| there == line)
    }

    #[test]
    fn a_handshake_is_measured_from_its_begin_to_its_binding() {
        let mut timings = Timings::new();
        let now = Instant::now();
        let (client, anycast) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        let begin = Notice::HandshakeStarted { client, anycast };
        let end = |outcome| Notice::Handshake {
            client,
            anycast,
            outcome,
        };
        let later = now + Duration::from_millis(20);
        timings.notice(&begin, now);
        timings.notice(&end(HandshakeOutcome::NoAnswer), later);
        // A renewal of the binding, whose begin was not told.
        timings.notice(&end(HandshakeOutcome::Bound), later);
        assert!(shows(
            &timings,
            "anycast_handshake_duration_seconds_count 0"
        ));
        timings.notice(&begin, now);
        timings.notice(&end(HandshakeOutcome::Bound), later);
        assert!(shows(
            &timings,
            "anycast_handshake_duration_seconds_count 1"
        ));
        assert!(shows(
            &timings,
            "anycast_handshake_duration_seconds_sum 0.02"
        ));
        assert!(timings.begun.is_empty());
    }
}
