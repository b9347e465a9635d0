//! Clients that ask by UDP, each from its own address.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Result;
use xtask::{lab::topology::B, net};

use super::site::{Site, client};

/// Where members answer.
pub const PORT: u16 = 5353;

/// Runs `body` while every member answers questions, each with its place behind the question.
pub fn with_answers<R>(site: &Site, body: impl FnOnce() -> Result<R>) -> Result<R> {
    let members = site.members.iter().zip(0..);
    let members: Vec<_> = members
        .map(|(member, place)| (member, vec![place]))
        .collect();
    net::with_answers(SocketAddr::from((B, PORT)), &members, body)
}

/// A socket of a client, connected to B.
pub fn socket(site: &Site, number: u16) -> Result<UdpSocket> {
    site.clients.run(|| {
        let socket = UdpSocket::bind(SocketAddr::from((client(number), 0)))?;
        socket.connect(SocketAddr::from((B, PORT)))?;
        Ok(socket)
    })
}
