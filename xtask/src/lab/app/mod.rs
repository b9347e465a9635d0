//! The applications of the lab: ordinary TCP programs over `std::net`, which know nothing about anycast. Each runs as a
//! process of its own, and one program contains all of them.

mod client;
mod content;
mod server;
mod session;

use std::{net::SocketAddr, process::ExitCode};

use clap::Parser;

/// The first argument of an application.
pub const MARK: &str = "app";

#[derive(Parser)]
#[command(name = MARK)]
enum App {
    /// Send the server's name to clients, and exchange data as they ask
    Serve {
        /// Name of the server
        name: String,
        /// Address on which it listens
        address: SocketAddr,
    },
    /// Connect, and execute commands on the standard input: `transfer UP DOWN`, `beat [MILLISECONDS]`, `pause`,
    /// `finish`
    Connect {
        /// The server
        address: SocketAddr,
    },
    /// Run many sessions: `open [PORT]` begins another one, and other commands go to every session
    Crowd {
        /// The server
        address: SocketAddr,
    },
}

/// Runs an application if the arguments ask for one, and gives its exit code.
pub fn intercept() -> Option<ExitCode> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first()? != MARK {
        return None;
    }
    let result = match App::parse_from(arguments) {
        App::Serve { name, address } => server::serve(&name, address),
        App::Connect { address } => client::connect(address),
        App::Crowd { address } => client::crowd(address),
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    })
}
