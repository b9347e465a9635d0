//! Watches the kernel's IPv6 routes of a namespace.

use std::{fmt, net::Ipv6Addr, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::oneshot;

use super::{
    namespace::Namespace,
    wait::{Missed, Watched},
};

/// A route, with the fields that the lab needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its prefix.
    pub destination: Ipv6Addr,
    /// The length of the prefix.
    pub length: u8,
    /// The routing table.
    pub table: u32,
    /// Protocol number of the program that added the route (`rtm_protocol`).
    pub protocol: u8,
    /// Its metric.
    pub metric: u32,
    /// The next hops, each with the index of its interface.
    pub next_hops: Vec<(Option<Ipv6Addr>, u32)>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.destination, self.length)?;
        for (via, interface) in &self.next_hops {
            match via {
                Some(via) => write!(f, " via {via}")?,
                None => write!(f, " dev #{interface}")?,
            }
        }
        write!(
            f,
            " proto {} metric {} table {}",
            self.protocol, self.metric, self.table
        )
    }
}

/// Follows the routes of a namespace until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    routes: Arc<Watched<Vec<Route>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Monitor {
    /// Starts with the routes that exist now.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let routes = Arc::new(Watched::<Vec<Route>>::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&routes);
        // The sockets are made in the namespace. Afterwards any thread may use them.
        let (runtime, listen, ask) = namespace.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let guard = runtime.enter();
            let listen = rtnetlink::new_multicast_connection(&[MulticastGroup::Ipv6Route])?;
            let ask = rtnetlink::new_connection()?;
            drop(guard);
            Ok((runtime, listen, ask))
        })?;
        let (first, started) = std::sync::mpsc::channel();
        let thread = thread::Builder::new()
            .name("routes".into())
            .spawn(move || {
                let (connection, _handle, mut changes) = listen;
                let (other, handle, _) = ask;
                let follow = async {
                    tokio::spawn(connection);
                    tokio::spawn(other);
                    loop {
                        // Reading all routes again is simpler than applying each change, and cannot go wrong.
                        let routes = dump(&handle).await;
                        let failed = routes.is_err();
                        if let Ok(routes) = routes {
                            shared.update(|known| *known = routes);
                        }
                        let _ = first.send(!failed);
                        if failed || changes.next().await.is_none() {
                            return;
                        }
                    }
                };
                runtime.block_on(async {
                    tokio::select! {
                        () = follow => {}
                        _ = stopped => {}
                    }
                });
            })?;
        let monitor = Self {
            routes,
            stop: Some(stop),
            thread: Some(thread),
        };
        match started.recv() {
            Ok(true) => Ok(monitor),
            _ => Err(anyhow!("cannot read the routes of {}", namespace.name())),
        }
    }

    /// All routes to exactly this prefix, whichever program added them.
    pub fn to(&self, destination: Ipv6Addr, length: u8) -> Vec<Route> {
        self.routes
            .read(|routes| select(routes, destination, length))
    }

    /// All routes, to compare them with those of another time.
    pub fn all(&self) -> Vec<Route> {
        self.routes.read(Clone::clone)
    }

    /// Waits until `look` accepts the routes to this prefix.
    pub fn wait<R>(
        &self,
        limit: Duration,
        what: &str,
        (destination, length): (Ipv6Addr, u8),
        mut look: impl FnMut(&[Route]) -> Option<R>,
    ) -> Result<R, Missed> {
        self.routes.wait(limit, what, |routes| {
            look(&select(routes, destination, length))
        })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn select(routes: &[Route], destination: Ipv6Addr, length: u8) -> Vec<Route> {
    let matches = |route: &&Route| route.destination == destination && route.length == length;
    routes.iter().filter(matches).cloned().collect()
}

async fn dump(handle: &Handle) -> Result<Vec<Route>> {
    let all = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let messages: Vec<_> = handle
        .route()
        .get(all)
        .execute()
        .try_collect()
        .await
        .context("cannot list routes")?;
    Ok(messages.iter().map(convert).collect())
}

fn convert(message: &RouteMessage) -> Route {
    let mut route = Route {
        destination: Ipv6Addr::UNSPECIFIED,
        length: message.header.destination_prefix_length,
        table: message.header.table.into(),
        protocol: message.header.protocol.into(),
        metric: 0,
        next_hops: hop(&message.attributes, None).into_iter().collect(),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                route.destination = *address;
            }
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::MultiPath(hops) => route.next_hops.extend(
                hops.iter()
                    .filter_map(|next| hop(&next.attributes, Some(next.interface_index))),
            ),
            _ => {}
        }
    }
    route
}

fn hop(
    attributes: &[RouteAttribute],
    mut interface: Option<u32>,
) -> Option<(Option<Ipv6Addr>, u32)> {
    let mut via = None;
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => via = Some(*address),
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    interface.map(|interface| (via, interface))
}
