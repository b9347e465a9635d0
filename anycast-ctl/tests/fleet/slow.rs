//! A way to the bus that is slow. Not every kernel has netem; and what TCP carries comes in any case, only later.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

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
    stalls: Arc<AtomicBool>,
}

impl Slow {
    /// Leads to the bus of the site.
    pub fn start(site: &Site) -> Result<Self> {
        let listener = site.bus.run(|| Ok(TcpListener::bind((bus(0), PORT))?))?;
        listener.set_nonblocking(true)?;
        let (stop, stalls) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (stops, stalled) = (Arc::clone(&stop), Arc::clone(&stalls));
        let namespace = Arc::clone(&site.bus);
        let listener = thread::spawn(move || {
            // What connects to the bus is in its namespace too.
            if namespace.enter().is_err() {
                return;
            }
            while !stops.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    let _ = carry(stream, &stops, &stalled);
                } else {
                    thread::sleep(TICK);
                }
            }
        });
        Ok(Self {
            listener: Some(listener),
            stop,
            stalls,
        })
    }

    /// Nothing goes on, and no connection ends; or everything does again.
    pub fn stall(&self, is: bool) {
        self.stalls.store(is, Ordering::Relaxed);
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn carry(near: TcpStream, stop: &Arc<AtomicBool>, stalls: &Arc<AtomicBool>) -> Result<()> {
    near.set_nonblocking(false)?;
    let far = TcpStream::connect(SocketAddr::from((bus(0), 4222)))?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let (stop, stalls) = (Arc::clone(stop), Arc::clone(stalls));
        thread::spawn(move || one_way(from, to, &stop, &stalls));
    }
    Ok(())
}

fn one_way(mut from: TcpStream, mut to: TcpStream, stop: &AtomicBool, stalls: &AtomicBool) {
    let (sender, due) = mpsc::sync_channel::<(Instant, Vec<u8>)>(64);
    thread::scope(|scope| {
        scope.spawn(move || {
            for (at, part) in due {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                if to.write_all(&part).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
        let mut number = 0_u64;
        let _ = from.set_read_timeout(Some(TICK));
        while !stop.load(Ordering::Relaxed) {
            if stalls.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                continue;
            }
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
