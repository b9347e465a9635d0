//! Datagrams through a firewall, which puts fragments together and makes others of them.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        scenario::SOON,
        stage::Lab,
        topology::{B, CLIENT, S1, S2, Server},
    },
    net::wait,
};

const ECHO: u16 = 5353;

/// Answers every datagram with itself, until told to stop.
fn echo(lab: &Lab, server: Server, ready: &Barrier, stop: &AtomicBool) -> Result<()> {
    lab.network.server(server).run(|| {
        let socket = UdpSocket::bind(SocketAddr::from((B, ECHO)));
        ready.wait();
        let socket = socket?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut datagram = vec![0; 65536];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                socket.send_to(&datagram[..length], from)?;
            }
        }
        Ok(())
    })
}

/// Datagrams of the client's port, some of them of several fragments, come back as they were.
pub fn exchange(lab: &Lab, port: u16) -> Result<()> {
    let stop = &AtomicBool::new(false);
    let ready = &Barrier::new(3);
    thread::scope(|scope| {
        let servers = [S1, S2].map(|server| scope.spawn(move || echo(lab, server, ready, stop)));
        ready.wait();
        let outcome = lab.network.client.run(|| come_back(port));
        stop.store(true, Ordering::Relaxed);
        for server in servers {
            server.join().expect("a server panicked")?;
        }
        outcome
    })
}

fn come_back(port: u16) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddr::from((CLIENT, port)))?;
    socket.connect(SocketAddr::from((B, ECHO)))?;
    socket.set_read_timeout(Some(wait::patience(SOON)))?;
    for size in [100, 1453, 4000, 20_000] {
        let sent: Vec<u8> = (0..=250).cycle().take(size).collect();
        let mut back = vec![0; 65536];
        socket.send(&sent)?;
        let length = socket.recv(&mut back)?;
        ensure!(
            back[..length] == sent,
            "{size} octets came back as {length}"
        );
    }
    Ok(())
}
