//! The bus of a fleet: NATS. This part carries octets and knows nothing of them. It never waits for the bus: what
//! cannot be sent or taken at once is dropped and counted, and the next renewal of a flow or binding heals that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{AuthError, Client, ConnectOptions, Event, Subscriber};
use futures_util::{StreamExt as _, stream::select};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{
    bounded::{Receiver, Sender, bounded},
    credentials,
};
use crate::model::bus::Bus as Settings;

/// Messages that wait to be sent, or for the daemon's loop to take them.
const QUEUE: usize = 4096;
/// Octets of these messages in each direction. What eighteen gateways tell of as many flows as are told at once has
/// room, and so have snapshots, of which a few chunks are on their way at a time.
const OCTETS: usize = 32 << 20;
/// Longest message of a gateway: a chunk of a snapshot.
const LONGEST: usize = 320 << 10;
/// Messages that the client of NATS keeps by itself.
const CLIENT_QUEUE: usize = 256;
/// Longest time between two tries to connect.
const AGAIN: Duration = Duration::from_secs(2);
/// A connection on which nothing is heard is given up after two of these.
const PING: Duration = Duration::from_secs(5);

/// What the bus brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BusEvent {
    /// A message.
    Message(Vec<u8>),
    /// The connection is there, or is not.
    Connected(bool),
}

/// How much was lost, and waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Messages that were not sent, because there was no connection or the queue was full.
    pub(super) unsent: u64,
    /// Messages that were not taken, because the queue was full or they were longer than any of a gateway.
    pub(super) untaken: u64,
    /// Messages that wait to be sent.
    pub(super) backlog: usize,
}

/// By what this gateway sends.
#[derive(Debug)]
pub(super) struct Bus {
    subject: String,
    outgoing: Sender<(String, Vec<u8>)>,
    state: watch::Receiver<bool>,
    unsent: Arc<AtomicU64>,
    untaken: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// By what it hears the others.
#[derive(Debug)]
pub(super) struct Incoming {
    messages: Receiver<Vec<u8>>,
    state: watch::Receiver<bool>,
}

impl Bus {
    /// Begins to connect, and goes on for as long as this lives. `id` is the number by which others reach this gateway
    /// alone.
    pub(super) fn new(settings: Settings, id: u64) -> (Self, Incoming) {
        let (outgoing, to_send) = bounded(QUEUE, OCTETS);
        let (taken, incoming) = bounded(QUEUE, OCTETS);
        let (told, state) = watch::channel(false);
        let (unsent, untaken) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let subject = settings.subject.clone();
        let link = Link {
            own: [all(&subject), alone(&subject, id)],
            settings,
            told: Arc::new(told),
            taken,
            unsent: Arc::clone(&unsent),
            untaken: Arc::clone(&untaken),
        };
        let incoming = Incoming {
            messages: incoming,
            state: state.clone(),
        };
        let bus = Self {
            subject,
            outgoing,
            state,
            unsent,
            untaken,
            task: tokio::spawn(link.run(to_send)),
        };
        (bus, incoming)
    }

    /// Sends a message to one gateway, or to all. It is dropped where it would have to wait.
    pub(super) fn publish(&mut self, to: Option<u64>, octets: Vec<u8>) {
        let subject = match to {
            Some(id) => alone(&self.subject, id),
            None => all(&self.subject),
        };
        let there = *self.state.borrow();
        let length = octets.len();
        if !there || !self.outgoing.send(length, || (subject, octets)) {
            self.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn load(&self) -> Load {
        Load {
            unsent: self.unsent.load(Ordering::Relaxed),
            untaken: self.untaken.load(Ordering::Relaxed),
            backlog: self.outgoing.backlog(),
        }
    }
}

impl Incoming {
    /// Waits for what the bus brings. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> BusEvent {
        tokio::select! {
            biased;
            Ok(()) = self.state.changed() => BusEvent::Connected(*self.state.borrow_and_update()),
            Some(octets) = self.messages.next() => BusEvent::Message(octets),
            else => std::future::pending().await,
        }
    }

    /// A further message, if there is one.
    pub(super) fn more(&mut self) -> Option<Vec<u8>> {
        self.messages.more()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn all(subject: &str) -> String {
    format!("{subject}.all")
}

fn alone(subject: &str, id: u64) -> String {
    format!("{subject}.to.{id:016x}")
}

/// The connection, in a task of its own.
struct Link {
    settings: Settings,
    /// The subjects that this gateway reads.
    own: [String; 2],
    told: Arc<watch::Sender<bool>>,
    taken: Sender<Vec<u8>>,
    unsent: Arc<AtomicU64>,
    untaken: Arc<AtomicU64>,
}

impl Link {
    async fn run(self, mut to_send: Receiver<(String, Vec<u8>)>) {
        let listens = Arc::new(AtomicBool::new(false));
        let (client, [first, second]) = loop {
            match self.connect(&listens).await {
                Ok(connected) => break connected,
                Err(error) => {
                    tracing::error!(target: "anycast::fleet", %error, "cannot use the bus: trying again");
                    sleep(AGAIN).await;
                }
            }
        };
        listens.store(true, Ordering::Release);
        let there = client.connection_state() == async_nats::connection::State::Connected;
        self.told.send_replace(there);
        let mut messages = select(first, second);
        let receive = async {
            while let Some(message) = messages.next().await {
                let length = message.payload.len();
                let taken = length <= LONGEST && self.taken.send(length, || message.payload.into());
                if !taken {
                    self.untaken.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let send = async {
            while let Some((subject, octets)) = to_send.next().await {
                if let Err(error) = client.publish(subject, octets.into()).await {
                    self.unsent.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(target: "anycast::fleet", %error, "a message was not sent");
                }
            }
        };
        tokio::join!(receive, send);
    }

    async fn connect(
        &self,
        listens: &Arc<AtomicBool>,
    ) -> Result<(Client, [Subscriber; 2]), Box<dyn std::error::Error + Send + Sync>> {
        let Settings {
            servers,
            name,
            credentials,
            authorities,
            certificate,
            ..
        } = self.settings.clone();
        let (told, listens) = (Arc::clone(&self.told), Arc::clone(listens));
        let untaken = Arc::clone(&self.untaken);
        let options = match credentials {
            Some(file) => {
                // Said at once, where it is not as it should be.
                credentials::sign(&file, b"").await?;
                ConnectOptions::with_auth_callback(move |nonce| {
                    let file = file.clone();
                    async move {
                        let signed = credentials::sign(&file, &nonce).await;
                        signed.map_err(AuthError::new)
                    }
                })
            }
            None => ConnectOptions::new(),
        };
        let mut options = options
            .name(format!("anycast {name}"))
            .no_echo()
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|tries| {
                let doubled = 1_u32.checked_shl(u32::try_from(tries).unwrap_or(31).min(31));
                AGAIN.min(Duration::from_millis(50).saturating_mul(doubled.unwrap_or(u32::MAX)))
            })
            .connection_timeout(AGAIN)
            .ping_interval(PING)
            .client_capacity(CLIENT_QUEUE)
            .subscription_capacity(QUEUE)
            .event_callback(move |event| {
                note(&event, &told, &listens, &untaken);
                std::future::ready(())
            });
        if let Some(file) = authorities {
            options = options.add_root_certificates(file);
        }
        if let Some((certificate, key)) = certificate {
            options = options.add_client_certificate(certificate, key);
        }
        let client = options.connect(servers).await?;
        let [all, alone] = self.own.clone();
        let subscribed = [client.subscribe(all).await?, client.subscribe(alone).await?];
        Ok((client, subscribed))
    }
}

/// What the client of NATS tells of its connection.
fn note(event: &Event, told: &watch::Sender<bool>, listens: &AtomicBool, untaken: &AtomicU64) {
    match event {
        Event::Connected => {
            tracing::info!(target: "anycast::fleet", "connected to the bus");
            if listens.load(Ordering::Acquire) {
                told.send_replace(true);
            }
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!(target: "anycast::fleet", "the bus is gone: this gateway goes on alone");
            told.send_replace(false);
        }
        Event::SlowConsumer(_) => {
            untaken.fetch_add(1, Ordering::Relaxed);
        }
        Event::ServerError(_) | Event::ClientError(_) => {
            tracing::warn!(target: "anycast::fleet", %event, "bus");
        }
        Event::LameDuckMode | Event::Draining => {}
    }
}
