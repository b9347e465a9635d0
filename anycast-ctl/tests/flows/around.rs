//! Answers that come back by another gateway.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::{kernel_tests::Suite, net::wait};

use super::{
    datagrams::{Asker, ask_all, with_answers},
    site::{Mode, Plan, Site},
};

/// Flows at the same time.
const FLOWS: u16 = 32;
/// Between two questions of a flow.
const REST: Duration = Duration::from_millis(100);
/// They ask for so long first ...
const FIRST: Duration = Duration::from_secs(7);
/// ... and by then no answer is lost any more: the time of a trial is 2.9 s. The client's host may say before that it
/// knows no C, but it sends few errors to one address (RFC 4443 section 2.4 (f)), so not about each flow.
const LEARNT: Duration = Duration::from_secs(4);
/// For so long the client's next flows ask.
const NEXT: Duration = Duration::from_secs(2);

pub fn tests(mut suite: Suite) -> Suite {
    // The other gateway binds for the client, too, or it does not.
    let ways = [
        (None, false),
        (Some(Mode::Native), false),
        (Some(Mode::Tcx), true),
    ];
    for (mode, both) in ways {
        let how = mode.map_or("without us", Mode::name);
        let name = format!("answers by UDP come back by another gateway, {how}");
        suite = suite.test(name, move || {
            let mut site = Site::up(Plan::new(1, mode))?;
            if both {
                site.start_gateway2()?;
            }
            around(&site).with_context(|| site.logs())
        });
    }
    suite
}

fn around(site: &Site) -> Result<()> {
    site.return_by_other(&["udp"])?;
    with_answers(site, || {
        let start = Instant::now();
        let first = match site.plan.mode {
            Some(_) => FIRST,
            None => NEXT,
        };
        let first = ask_all(site, FLOWS, first, REST)?;
        let last = first.iter().filter_map(|flow| flow.last_lost).max();
        let last = last.map_or(Duration::ZERO, |last| last - start);
        let next = [(); 2].map(|()| ask_all(site, FLOWS, NEXT, REST));
        println!("at first {}, the last after {last:?}", Lost::of(&first));
        for flows in next {
            let lost = Lost::of(&flows?);
            println!("then {lost}");
            ensure!(lost.questions == 0, "of the next flows {lost}");
        }
        if site.plan.mode.is_some() {
            ensure!(
                last < wait::patience(LEARNT),
                "an answer is lost after {last:?}"
            );
        } else {
            ensure!(
                last.is_zero(),
                "without us, an answer is lost after {last:?}"
            );
        }
        Ok(())
    })
}

struct Lost {
    flows: usize,
    questions: u32,
    asked: u32,
}

impl Lost {
    fn of(flows: &[Asker]) -> Self {
        Self {
            flows: flows.iter().filter(|flow| flow.lost > 0).count(),
            questions: flows.iter().map(|flow| flow.lost).sum(),
            asked: flows.iter().map(|flow| flow.asked).sum(),
        }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            flows,
            questions,
            asked,
        } = self;
        write!(f, "{questions} of {asked} are lost, of {flows} flows")
    }
}
