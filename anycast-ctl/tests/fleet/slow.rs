//! A way to the bus that is slow. Not every kernel has netem; and what TCP carries comes in any case, only later.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use socket2::SockRef;
use xtask::net::Pace;

use super::site::{Site, bus};

/// Where gateways find the bus behind the slow way.
const PORT: u16 = 4223;
/// How long everything takes, each way.
const DELAY: Duration = Duration::from_millis(100);
/// One in so many parts is lost on the way at first, and comes with the next try of TCP.
const LOST: u64 = 100;
const AGAIN: Duration = Duration::from_millis(200);
const TICK: Duration = Duration::from_millis(20);

/// What tells gateways of it.
pub fn servers() -> String {
    format!("servers = [\"nats://[{}]:{PORT}\"]", bus(0))
}

/// The slow way. It ends with its value.
pub struct Slow {
    /// It holds the namespace, whose name goes with its last holder.
    listener: Option<thread::JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    gate: Arc<Gate>,
}

/// What everything passes, or waits at.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn shut(&self, is: bool) {
        *self.is_shut.lock().unwrap_or_else(PoisonError::into_inner) = is;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let shut = self.is_shut.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(shut, |is| *is));
    }
}

impl Slow {
    /// Leads to the bus of the site.
    pub fn start(site: &Site) -> Result<Self> {
        let listener = site.bus.run(|| Ok(TcpListener::bind((bus(0), PORT))?))?;
        // Whoever waits for a connection looks so often whether it is to end.
        SockRef::from(&listener).set_read_timeout(Some(TICK))?;
        let (stop, gate) = <(Arc<AtomicBool>, Arc<Gate>)>::default();
        let (stops, passes) = (Arc::clone(&stop), Arc::clone(&gate));
        let namespace = Arc::clone(&site.bus);
        let listener = thread::spawn(move || {
            // What connects to the bus is in its namespace too.
            if namespace.enter().is_err() {
                return;
            }
            while !stops.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    let _ = carry(stream, &stops, &passes);
                }
            }
        });
        Ok(Self {
            listener: Some(listener),
            stop,
            gate,
        })
    }

    /// Nothing goes on, and no connection ends; or everything does again.
    pub fn stall(&self, is: bool) {
        self.gate.shut(is);
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.gate.shut(false);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn carry(near: TcpStream, stop: &Arc<AtomicBool>, gate: &Arc<Gate>) -> Result<()> {
    let far = TcpStream::connect(SocketAddr::from((bus(0), 4222)))?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let (stop, gate) = (Arc::clone(stop), Arc::clone(gate));
        thread::spawn(move || one_way(from, to, &stop, &gate));
    }
    Ok(())
}

fn one_way(mut from: TcpStream, mut to: TcpStream, stop: &AtomicBool, gate: &Gate) {
    let (sender, due) = mpsc::sync_channel::<(Instant, Vec<u8>)>(64);
    thread::scope(|scope| {
        scope.spawn(move || {
            for (at, part) in due {
                let rest = at.saturating_duration_since(Instant::now());
                let due = Pace::every(rest).and_then(|pace| pace.beat());
                if due.is_err() || to.write_all(&part).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
        let mut number = 0_u64;
        let _ = from.set_read_timeout(Some(TICK));
        while !stop.load(Ordering::Relaxed) {
            gate.pass();
            let mut part = vec![0; 16 << 10];
            match from.read(&mut part) {
                Ok(0) => break,
                Ok(length) => {
                    number += 1;
                    part.truncate(length);
                    let again = if number.is_multiple_of(LOST) {
                        AGAIN
                    } else {
                        Duration::ZERO
                    };
                    if sender.send((Instant::now() + DELAY + again, part)).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        drop(sender);
    });
}
