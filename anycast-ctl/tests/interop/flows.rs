//! What a binding is for: flows to B go to C and come back from B.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use anyhow::{Result, ensure};
use serde_json::json;
use xtask::{
    lab::topology::{B, CLIENT, Network, S1},
    net::{Namespace, wait},
};

use super::{
    correspondent::{accepted, gateway, holds, matches},
    site::{C, Peer, SOON, network},
};

const UDP: u16 = 7777;
const TCP: u16 = 7778;

fn udp(namespace: &Namespace, address: Ipv6Addr, port: u16) -> Result<UdpSocket> {
    namespace.run(|| {
        let socket = UdpSocket::bind((address, port))?;
        socket.set_read_timeout(Some(wait::patience(SOON)))?;
        Ok(socket)
    })
}

/// A new UDP flow of the client to B: `server` must get its packet, and the client the answer.
fn exchange(network: &Network, server: &UdpSocket) -> Result<()> {
    let client = udp(&network.client, CLIENT, 0)?;
    // Connected, it takes answers from B alone.
    client.connect((B, UDP))?;
    client.send(b"question")?;
    let mut buffer = [0; 16];
    let (length, from) = server.recv_from(&mut buffer)?;
    ensure!(from == client.local_addr()?, "{from}");
    server.send_to(&buffer[..length], from)?;
    let length = client.recv(&mut buffer)?;
    ensure!(&buffer[..length] == b"question", "{buffer:?}");
    Ok(())
}

fn connection(network: &Network, server: &TcpListener) -> Result<()> {
    let to = SocketAddr::from((B, TCP));
    let connect = || Ok(TcpStream::connect_timeout(&to, SOON)?);
    let mut client = network.client.run(connect)?;
    let (mut accepted, from) = server.accept()?;
    ensure!(from == client.local_addr()?, "{from}");
    ensure!(accepted.local_addr()?.ip() == C, "{accepted:?}");
    for stream in [&client, &accepted] {
        stream.set_read_timeout(Some(wait::patience(SOON)))?;
    }
    let mut buffer = [0; 8];
    client.write_all(b"question")?;
    accepted.read_exact(&mut buffer)?;
    accepted.write_all(&buffer)?;
    client.read_exact(&mut buffer)?;
    ensure!(&buffer == b"question", "{buffer:?}");
    Ok(())
}

pub fn carried() -> Result<()> {
    let network = network()?;
    let gateway = gateway(&network, "")?;
    let member = network.server(S1);
    let mut peer = Peer::start(&network, member, "member")?;
    // Different sockets for B and C: this member rewrites nothing.
    let by_anycast = udp(member, B, UDP)?;
    let by_care_of = udp(member, C, UDP)?;
    let listener = member.run(|| Ok(TcpListener::bind((C, TCP))?))?;

    exchange(&network, &by_anycast)?;
    let client = CLIENT.to_string();
    peer.tell(&json!({"do": "test", "client": client}))?;
    let update = json!({"do": "update", "client": client, "sequence": 1});
    let done = peer.tell(&update);
    let done = peer.explain(0, "a binding", "RFC 6275 9.5.2", done)?;
    matches(&done["received"], &[accepted(1)])?;
    ensure!(holds(&gateway, CLIENT)? == Some(C), "no binding");
    exchange(&network, &by_care_of)?;
    connection(&network, &listener)?;
    let flows = gateway.counter("data_plane", "flow_pinned")?;
    ensure!(flows == 2, "{flows} flows pinned");

    let deletion = json!({"do": "update", "client": client, "sequence": 2, "lifetime": 0});
    peer.tell(&deletion)?;
    ensure!(holds(&gateway, CLIENT)?.is_none(), "still bound");
    exchange(&network, &by_anycast)
}
