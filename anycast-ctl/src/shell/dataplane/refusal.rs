//! Why native XDP is refused. A BPF link gives a number; a request by netlink for the same gives the driver's words.

use std::{
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use aya::programs::Xdp;
use nix::{libc, net::if_::if_indextoname};
use socket2::{Domain, Protocol, Socket, Type};

use super::driver;

const RTM_SETLINK: u16 = 19;
const NLM_F_REQUEST_ACK: u16 = 5;
const NLMSG_ERROR: u16 = 2;
/// Its flag for an answer that has attributes behind the error.
const NLM_F_ACK_TLVS: u16 = 0x200;
/// And that for one that does not repeat all of the request.
const NLM_F_CAPPED: u16 = 0x100;
const NLMSGERR_ATTR_MSG: u16 = 1;
const IFLA_XDP: u16 = 43 | 0x8000;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const UPDATE_IF_NOEXIST: u32 = 1;
const DRIVER_MODE: u32 = 1 << 2;
/// Octets of a netlink header.
const HEADER: usize = 16;
/// The kernel answers within the system call.
const PATIENCE: Duration = Duration::from_secs(1);

/// In a sentence without its end: what the kernel says, of which device, and what may help. A device that has a program
/// of ours already gives no words of its driver.
pub(super) fn explain(program: &Xdp, ifindex: u32, error: &io::Error, has_one: bool) -> String {
    let words = program
        .fd()
        .ok()
        .filter(|_| !has_one)
        .and_then(|program| words(ifindex, program.as_fd().as_raw_fd()).ok().flatten());
    let name = if_indextoname(ifindex).ok();
    let name = name.map_or_else(
        || format!("interface {ifindex}"),
        |name| name.to_string_lossy().into_owned(),
    );
    let driver = driver::of(ifindex).unwrap_or_else(|| "a driver without a name".to_owned());
    let mtu = driver::mtu(ifindex).map_or_else(|| "unknown".to_owned(), |mtu| mtu.to_string());
    let on = driver::offloads(ifindex);
    if has_one {
        return another(&name, &driver, &mtu, error);
    }
    sentence(&name, &driver, &mtu, &on, words.as_deref(), error)
}

fn sentence(
    name: &str,
    driver: &str,
    mtu: &str,
    on: &[&str],
    words: Option<&str>,
    error: &io::Error,
) -> String {
    let said = match words {
        Some(words) => format!("\"{words}\""),
        None => error.to_string(),
    };
    let offloads = match on {
        [] => String::new(),
        on => format!(", on: {}", on.join(" ")),
    };
    let help = match error.raw_os_error() {
        _ if says(words, "does not support") => "this driver has none",
        Some(libc::ERANGE) => "a smaller MTU, here or at the other end of a veth, is accepted",
        _ if says(words, "MTU") => "a smaller MTU is accepted",
        _ if driver == "virtio_net" => {
            "the hypervisor has to let the guest change its offloads (ctrl_guest_offloads, and queues enough), \
             or give it none (guest_tso4, guest_tso6, guest_ecn, guest_ufo and guest_csum off)"
        }
        Some(libc::EOPNOTSUPP) if words.is_none() => "this driver has none",
        _ if !on.is_empty() => "`ethtool -K` turns offloads off",
        _ => "the kernel's log may say more",
    };
    format!("{name} ({driver}, MTU {mtu}{offloads}) has no native XDP: {said}; {help}")
}

fn another(name: &str, driver: &str, mtu: &str, error: &io::Error) -> String {
    format!(
        "{name} ({driver}, MTU {mtu}) keeps the program of before at native XDP and takes no other: {error}; \
         a smaller MTU may be accepted"
    )
}

fn says(words: Option<&str>, what: &str) -> bool {
    words.is_some_and(|words| words.contains(what))
}

/// Asks again by netlink, and gives the driver's words. Should it be granted now, it is taken back.
fn words(ifindex: u32, program: i32) -> io::Result<Option<String>> {
    let mut socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_ROUTE)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let on: libc::c_int = 1;
    // SAFETY: the option is a number, and lives until the call returns.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            4,
        )
    };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    let answer = ask(&mut socket, &request(ifindex, program, UPDATE_IF_NOEXIST))?;
    if error_of(&answer) == Some(0) {
        ask(&mut socket, &request(ifindex, -1, 0))?;
    }
    Ok(message_of(&answer))
}

fn ask(socket: &mut Socket, request: &[u8]) -> io::Result<Vec<u8>> {
    socket.write_all(request)?;
    let mut answer = vec![0; 8192];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn request(ifindex: u32, program: i32, flags: u32) -> Vec<u8> {
    let mut message = Vec::new();
    // The length comes last.
    message.extend([0; 4]);
    message.extend(RTM_SETLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    // `struct ifinfomsg`
    message.extend([0; 4]);
    message.extend(ifindex.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(20_u16.to_ne_bytes());
    message.extend(IFLA_XDP.to_ne_bytes());
    for (kind, value) in [
        (IFLA_XDP_FD, program.cast_unsigned()),
        (IFLA_XDP_FLAGS, flags | DRIVER_MODE),
    ] {
        message.extend(8_u16.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(value.to_ne_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(0);
    message.splice(..4, length.to_ne_bytes());
    message
}

/// The error in an answer; 0: it was granted.
fn error_of(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let error = i32::from_ne_bytes(*answer.get(HEADER..)?.first_chunk()?);
    (kind == NLMSG_ERROR).then_some(error)
}

/// The words behind the error in an answer.
fn message_of(answer: &[u8]) -> Option<String> {
    error_of(answer)?;
    let flags = u16::from_ne_bytes(*answer.get(6..)?.first_chunk()?);
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    // The request comes first: its header, and the rest of it unless it was cut.
    let request = answer.get(HEADER + 4..)?;
    let length = u32::from_ne_bytes(*request.first_chunk()?) as usize;
    let length = if flags & NLM_F_CAPPED != 0 {
        HEADER
    } else {
        length.next_multiple_of(4)
    };
    let mut rest = request.get(length..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = value.split(|octet| *octet == 0).next()?;
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.12 answers for a virtio_net with fixed offloads: the request is repeated, then come the words.
    fn refused(flags: u16, words: &str) -> Vec<u8> {
        let request = request(7, 5, UPDATE_IF_NOEXIST);
        let mut answer = vec![0; 4];
        answer.extend(NLMSG_ERROR.to_ne_bytes());
        answer.extend(flags.to_ne_bytes());
        answer.extend([0; 8]);
        answer.extend((-95_i32).to_ne_bytes());
        let capped = flags & NLM_F_CAPPED != 0;
        answer.extend(&request[..if capped { HEADER } else { request.len() }]);
        let length = u16::try_from(4 + words.len() + 1).expect("short");
        answer.extend(length.to_ne_bytes());
        answer.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        answer.extend(words.as_bytes());
        answer.push(0);
        answer.resize(answer.len().next_multiple_of(4), 0);
        answer
    }

    #[test]
    fn the_words_of_a_driver_are_found_behind_the_request() {
        let words =
            "Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first";
        for flags in [NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED] {
            let answer = refused(flags, words);
            assert_eq!(error_of(&answer), Some(-95));
            assert_eq!(message_of(&answer).as_deref(), Some(words));
            for cut in 0..answer.len() - 4 {
                assert_eq!(message_of(&answer[..cut]), None, "cut at {cut}");
            }
        }
        assert_eq!(message_of(&refused(0, words)), None);
    }

    #[test]
    fn a_refusal_names_device_driver_mtu_offloads_and_remedy() {
        let error = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        let words = "Can't set XDP while host is implementing GRO_HW/CSUM";
        let said = sentence(
            "up0",
            "virtio_net",
            "1500",
            &["rx", "lro"],
            Some(words),
            &error,
        );
        for part in [
            "up0 (virtio_net, MTU 1500, on: rx lro)",
            words,
            "ctrl_guest_offloads",
        ] {
            assert!(said.contains(part), "{said}");
        }
        let said = another("up0", "vmxnet3", "9000", &error);
        assert!(said.starts_with("up0 (vmxnet3, MTU 9000) keeps"), "{said}");
        let said = sentence("eth0", "e1000e", "1500", &[], None, &error);
        assert!(said.ends_with("this driver has none"), "{said}");
    }
}
