//! The controller of an IPv6 anycast node, and the command line that queries it.

use std::process::ExitCode;

use anycast_ctl::{
    cli::{self, Cli},
    config::Problems,
};
use clap::Parser;

/// The exit status of a command line that is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let line = match Cli::try_parse() {
        Ok(line) => line,
        Err(error) if error.use_stderr() => {
            // What is wrong with the command line of a unit is as much an error as what is wrong with its file.
            cli::fatal(error.render().to_string().trim_end());
            return ExitCode::from(USAGE);
        }
        Err(help) => help.exit(),
    };
    match cli::run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each problem of a configuration is printed on a line of its own, in the form that editors understand.
            match error.downcast_ref::<Problems>() {
                Some(problems) => cli::fatal(&problems.to_string()),
                None => cli::fatal(&format!("anycast-ctl: {error:#}")),
            }
            ExitCode::FAILURE
        }
    }
}
