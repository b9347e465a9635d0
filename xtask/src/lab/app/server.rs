//! The server application. It sends its name, and then exchanges the data that the client asks for.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    content::{DOWN, UP},
    session::{Hello, Receipt, Session, is_reset},
};

/// A request of a client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Transfer {
    /// Octets from the client to the server.
    pub(super) up: u64,
    /// Octets from the server to the client.
    pub(super) down: u64,
}

/// Serves clients until the process is ended.
pub(super) fn serve(name: &str, address: SocketAddr) -> Result<()> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    println!("{}", json!({"event": "listening", "address": address}));
    loop {
        let (stream, peer) = listener.accept()?;
        let name = name.to_owned();
        thread::spawn(move || {
            println!("{}", json!({"event": "accepted", "peer": peer}));
            let outcome = match attend(&name, stream) {
                Ok((sent, received)) => {
                    json!({"event": "closed", "peer": peer, "sent": sent, "received": received})
                }
                Err(error) if is_reset(&error) => json!({"event": "reset", "peer": peer}),
                Err(error) => {
                    json!({"event": "failed", "peer": peer, "error": format!("{error:#}")})
                }
            };
            println!("{outcome}");
        });
    }
}

fn attend(name: &str, stream: TcpStream) -> Result<(u64, u64)> {
    let mut session = Session::new(stream, DOWN, UP)?;
    let hello = Hello {
        server: name.to_owned(),
        peer: session.peer()?,
        local: session.local()?,
    };
    session.say(&hello)?;
    while let Some(Transfer { up, down }) = session.hear()? {
        session.exchange(down, up)?;
        let receipt = Receipt {
            received: session.counts().1,
            peer: session.peer()?,
            local: session.local()?,
        };
        session.say(&receipt)?;
    }
    Ok(session.counts())
}
