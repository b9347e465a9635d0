//! Datagrams through a firewall, which puts fragments together and makes others of them.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        scenario::SOON,
        stage::Lab,
        topology::{B, CLIENT},
    },
    net::wait,
};

const ECHO: u16 = 5353;

/// Datagrams of the client's port, some of them of several fragments, come back as they were.
pub fn exchange(lab: &Lab, port: u16) -> Result<()> {
    lab.with_echo(ECHO, || lab.network.client.run(|| come_back(port)))
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
