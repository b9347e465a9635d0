//! Clients that ask by UDP, each from its own address.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use xtask::{lab::topology::B, net::Namespace};

use super::site::{Site, client};

/// Where members answer.
pub const PORT: u16 = 5353;

/// Runs `body` while every member answers questions, each with its place behind the question.
pub fn with_answers<R>(site: &Site, body: impl FnOnce() -> Result<R>) -> Result<R> {
    let stop = &AtomicBool::new(false);
    let ready = &Barrier::new(site.members.len() + 1);
    thread::scope(|scope| {
        let members = site.members.iter().enumerate();
        let members: Vec<_> = members
            .map(|(place, namespace)| scope.spawn(move || answer(namespace, place, ready, stop)))
            .collect();
        ready.wait();
        let result = body();
        stop.store(true, Ordering::Relaxed);
        for member in members {
            match member.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a member panicked"),
            }
        }
        result
    })
}

fn answer(member: &Namespace, place: usize, ready: &Barrier, stop: &AtomicBool) -> Result<()> {
    member.run(|| {
        let socket = UdpSocket::bind(SocketAddr::from((B, PORT)));
        ready.wait();
        let socket = socket?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut question = [0; 64];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut question) {
                let place = place.to_le_bytes();
                socket.send_to(&[&question[..length], &place[..1]].concat(), from)?;
            }
        }
        Ok(())
    })
}

/// A socket of a client, connected to B.
pub fn socket(site: &Site, number: u16) -> Result<UdpSocket> {
    site.clients.run(|| {
        let socket = UdpSocket::bind(SocketAddr::from((client(number), 0)))?;
        socket.connect(SocketAddr::from((B, PORT)))?;
        Ok(socket)
    })
}
