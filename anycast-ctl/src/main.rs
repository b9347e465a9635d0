//! The controller of an IPv6 anycast node, and the command line that queries it.

use std::process::ExitCode;

use anycast_ctl::{
    cli::{self, Cli},
    config::Problems,
};
use clap::Parser;

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each problem of a configuration is printed on a line of its own, in the form that editors understand.
            match error.downcast_ref::<Problems>() {
                Some(problems) => eprintln!("{problems}"),
                None => eprintln!("anycast-ctl: {error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}
