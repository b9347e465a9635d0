//! Hosts that answer datagrams, while a test runs.

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

use super::Namespace;

/// After which a host sees that it is to stop.
const TICK: Duration = Duration::from_millis(50);
/// The longest datagram.
const LONGEST: usize = 65536;

/// Runs `body` while each of the hosts answers datagrams to `address` with what it was asked and its signature behind.
pub fn with_answers<R>(
    address: SocketAddr,
    hosts: &[(&Namespace, Vec<u8>)],
    body: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let stop = &AtomicBool::new(false);
    let ready = &Barrier::new(hosts.len() + 1);
    thread::scope(|scope| {
        let hosts: Vec<_> = hosts
            .iter()
            .map(|(host, signature)| {
                scope.spawn(move || answer(host, address, signature, (ready, stop)))
            })
            .collect();
        ready.wait();
        let result = body();
        stop.store(true, Ordering::Relaxed);
        for host in hosts {
            match host.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a host that answers panicked"),
            }
        }
        result
    })
}

fn answer(
    host: &Namespace,
    address: SocketAddr,
    signature: &[u8],
    (ready, stop): (&Barrier, &AtomicBool),
) -> Result<()> {
    host.run(|| {
        let socket = UdpSocket::bind(address);
        // Also when there is none: somebody waits.
        ready.wait();
        let socket = socket?;
        socket.set_read_timeout(Some(TICK))?;
        let mut question = vec![0; LONGEST];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut question) {
                socket.send_to(&[&question[..length], signature].concat(), from)?;
            }
        }
        Ok(())
    })
}
