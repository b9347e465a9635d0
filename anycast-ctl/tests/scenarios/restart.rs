//! A gateway that is restarted in the middle of a handshake, seen by a member made by hand.

use std::{
    fs,
    io::Read as _,
    net::Ipv6Addr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anycast_common::wire::{
    ipv6,
    mobility::{BindingAck, BindingUpdate, Flags, Message},
};
use anycast_ctl::{
    core::rr::{self, Kbm, KeygenToken},
    shell::sockets::Sender,
};
use anyhow::{Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use xtask::{
    lab::{
        node::Daemon,
        topology::{B, CLIENT},
    },
    net::{
        Namespace, Site,
        netlink::{self, End},
        sysctl, wait,
    },
};

use super::stage::DAEMON;

const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0xc1);
const PEER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 2);
const COOKIE: [u8; 8] = *b"a cookie";
const SOON: Duration = Duration::from_secs(5);

/// The member's end: it has B and C and speaks for itself.
struct Peer {
    namespace: Namespace,
    messages: Socket,
}

pub(super) fn nonces() -> Result<()> {
    let site = Site::claim("aclnonce")?;
    let gateway = site.namespace("gateway")?;
    let mut peer = Peer::connect(site.namespace("peer")?, &gateway)?;
    let state = site.directory().join("nonces");
    let mut daemon = start(&gateway, site.directory(), &state)?;

    let home = peer.test(B, Message::HomeTestInit { cookie: COOKIE })?;
    let care_of = peer.test(C, Message::CareOfTestInit { cookie: COOKIE })?;
    ensure!(!state.exists(), "secrets lie about while the daemon runs");
    ensure!(daemon.end()?.success());
    let about = fs::metadata(&state)?;
    ensure!((about.uid(), about.mode() & 0o777) == (0, 0o600));

    let mut daemon = start(&gateway, site.directory(), &state)?;
    ensure!(!state.exists(), "it could be used a second time");
    let update = sealed(7, &home, &care_of)?;
    ensure!(peer.update(&update)?.status == 0);
    ensure!(daemon.end()?.success());

    // The binding is gone with the daemon, and the old update does not bring it back.
    let mut daemon = start(&gateway, site.directory(), &state)?;
    let ack = peer.update(&update)?;
    ensure!((ack.status, ack.sequence) == (135, 7), "{ack:?}");
    ensure!(daemon.list("bindings")?.is_empty());
    ensure!(daemon.end()?.success());

    // Somebody else may have read it: it is not used, and nothing else is wrong.
    fs::set_permissions(&state, fs::Permissions::from_mode(0o644))?;
    let mut daemon = start(&gateway, site.directory(), &state)?;
    let ack = peer.update(&sealed(8, &home, &care_of)?)?;
    ensure!(ack.status == 138, "{ack:?}");
    let told = daemon.tail(100).join("\n");
    ensure!(told.contains("nobody else can read or write"), "{told}");

    // A crash leaves nothing.
    fs::remove_file(&state)?;
    peer.test(B, Message::HomeTestInit { cookie: COOKIE })?;
    daemon.kill()?;
    ensure!(!state.exists());
    Ok(())
}

fn start(gateway: &Namespace, directory: &Path, state: &Path) -> Result<Daemon> {
    let config: PathBuf = directory.join("gateway.toml");
    let state = state.display();
    fs::write(
        &config,
        format!(
            "[correspondent]\ninterfaces = [\"up0\"]\n\
             client_prefixes = [\"2001:db8:1::/64\"]\nstate = \"{state}\"\n"
        ),
    )?;
    let daemon = Daemon::start(Path::new(DAEMON), "gateway", gateway, &config, directory)?;
    daemon.wait_ready()?;
    Ok(daemon)
}

impl Peer {
    fn connect(namespace: Namespace, gateway: &Namespace) -> Result<Self> {
        for namespace in [&namespace, gateway] {
            let quick = [("ipv6/conf/default/accept_dad", "0")];
            sysctl::set(namespace, &quick)?;
            netlink::up(namespace, "lo")?;
        }
        let end = |namespace, name| End {
            namespace,
            name,
            mac: None,
        };
        netlink::veth(end(&namespace, "eth0"), end(gateway, "up0"))?;
        netlink::connect(end(&namespace, "eth0"), end(gateway, "up0"))?;
        netlink::address(gateway, "up0", GATEWAY, 64)?;
        for (address, length) in [(PEER, 64), (B, 128), (C, 128)] {
            netlink::address(&namespace, "eth0", address, length)?;
        }
        netlink::route(gateway, Ipv6Addr::UNSPECIFIED, 0, PEER, "up0")?;
        netlink::route(&namespace, Ipv6Addr::UNSPECIFIED, 0, GATEWAY, "eth0")?;
        let messages = namespace.run(|| {
            let protocol = Protocol::from(i32::from(ipv6::NEXT_HEADER_MOBILITY));
            let socket = Socket::new(Domain::IPV6, Type::RAW, Some(protocol))?;
            socket.set_read_timeout(Some(wait::patience(SOON)))?;
            Ok(socket)
        })?;
        Ok(Self {
            namespace,
            messages,
        })
    }

    /// Sends a packet and gives the message that answers it.
    fn ask(&mut self, packet: &[u8]) -> Result<Message> {
        let source = ipv6::Packet::parse(packet)?.source;
        self.namespace
            .run(|| Ok(Sender::new()?.send(None, packet)?))?;
        let mut answer = vec![0; 1280];
        let length = self.messages.read(&mut answer)?;
        let mut whole = packet[..ipv6::HEADER_LEN].to_vec();
        whole[4..6].copy_from_slice(&u16::try_from(length)?.to_be_bytes());
        whole[8..24].copy_from_slice(&CLIENT.octets());
        whole[24..40].copy_from_slice(&source.octets());
        whole.extend(&answer[..length]);
        Ok(Message::parse(&ipv6::Packet::parse(&whole)?)?)
    }

    /// Index and token of a test.
    fn test(&mut self, source: Ipv6Addr, init: Message) -> Result<(u16, KeygenToken)> {
        match self.ask(&rr::build(&init, source, CLIENT)?)? {
            Message::HomeTest {
                nonce_index, token, ..
            }
            | Message::CareOfTest {
                nonce_index, token, ..
            } => Ok((nonce_index, token.into())),
            other => bail!("{other:?}"),
        }
    }

    fn update(&mut self, update: &[u8]) -> Result<BindingAck> {
        match self.ask(update)? {
            Message::BindingAck(ack) => Ok(ack),
            other => bail!("{other:?}"),
        }
    }
}

fn sealed(
    sequence: u16,
    home: &(u16, KeygenToken),
    care_of: &(u16, KeygenToken),
) -> Result<Vec<u8>> {
    let update = Message::BindingUpdate(BindingUpdate {
        sequence,
        flags: Flags::ACKNOWLEDGE | Flags::EQUIVALENT,
        lifetime: rr::LIFETIME,
        alternate_care_of: Some(C),
        nonce_indices: Some((home.0, care_of.0)),
        authenticator: Some([0; 12]),
    });
    let mut packet = rr::build(&update, B, CLIENT)?;
    rr::seal(&Kbm::binding(&home.1, &care_of.1), C, CLIENT, &mut packet)?;
    Ok(packet)
}
