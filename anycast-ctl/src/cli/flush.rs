//! The command `flush`.

use std::{net::Ipv6Addr, path::Path};

use anyhow::Result;
use clap::Args;

use super::{
    ask::{Query, ask},
    show,
};
use crate::shell::api::{Request, view};

/// Which bindings and flows, or clients; each address that is given must be theirs.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Which {
    /// Of this client
    #[arg(long, value_name = "ADDRESS")]
    client: Option<Ipv6Addr>,
    /// Of this anycast address
    #[arg(long, value_name = "ADDRESS")]
    anycast: Option<Ipv6Addr>,
    /// To this address of a member
    #[arg(long, value_name = "ADDRESS")]
    care_of: Option<Ipv6Addr>,
    /// All of them
    #[arg(long, conflicts_with_all = ["client", "anycast", "care_of"])]
    all: bool,
}

pub(super) fn run(path: &Path, which: &Which, query: Query) -> Result<()> {
    let request = Request::Flush {
        client: which.client,
        anycast: which.anycast,
        care_of: which.care_of,
    };
    ask(path, &request, query, |flushed: &view::Flushed| {
        let view::Flushed {
            bindings,
            flows,
            clients,
        } = *flushed;
        let mut said = String::new();
        if let (Some(bindings), Some(flows)) = (bindings, flows) {
            let bindings = show::counted(bindings, "binding");
            said += &format!("ended: {bindings}, {}\n", show::counted(flows, "flow"));
        }
        if let Some(clients) = clients {
            said += &format!("forgotten: {}\n", show::counted(clients, "client"));
        }
        said
    })
}
