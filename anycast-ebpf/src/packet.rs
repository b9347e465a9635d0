//! Bounds-checked access to the packet, and its headers down to the transport.

use anycast_common::wire::ipv6::MAX_EXTENSIONS;
use aya_ebpf::programs::{TcContext, XdpContext};

pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();
pub(crate) const ETHERTYPE_VLAN: u16 = 0x8100_u16.to_be();
pub(crate) const ETHERTYPE_QINQ: u16 = 0x88a8_u16.to_be();
/// No header of interest starts later than this; it also bounds offsets for the verifier.
pub(crate) const MAX_OFFSET: usize = 511;
/// Octets of the largest upper-layer header that is read, TCP's.
pub(crate) const UPPER_HEADER: usize = 20;
const OFFSET: u16 = 0xfff8_u16.to_be();
const MORE: u16 = 1_u16.to_be();

/// Direct access to the bytes of a packet.
pub(crate) trait Bytes {
    fn start(&self) -> usize;
    fn end(&self) -> usize;

    /// A `T` at `offset`, when it lies within the packet.
    ///
    /// Headers claim the alignment of their words, as the kernel's own do, although a frame gives
    /// only two: every architecture with efficient unaligned access takes it, and byte by byte the
    /// addresses would cost 16 loads each. `T` has two octets at least, because the compiler turns
    /// the check for a single one into a form that tells the verifier nothing.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        const { assert!(align_of::<T>() <= 4 && size_of::<T>() > 1) };
        if offset > MAX_OFFSET {
            return None;
        }
        let address = self.start() + offset;
        if address + size_of::<T>() > self.end() {
            return None;
        }
        Some(address as *mut T)
    }

    /// A copy of the `T` at `offset`.
    #[inline(always)]
    fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        // SAFETY: `at` checked the bounds, and headers are plain integers.
        self.at::<T>(offset).map(|pointer| unsafe { *pointer })
    }
}

impl Bytes for XdpContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }
}

impl Bytes for TcContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }
}

/// Ethernet header.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ethernet {
    pub destination: [u16; 3],
    pub source: [u16; 3],
    pub ethertype: u16,
}

/// The Ethernet header, once more.
///
/// Its bounds follow from those of what lies behind it, so the compiler would leave the check out;
/// the verifier does not see that from another copy of the pointer.
#[inline(always)]
pub(crate) fn ethernet(packet: &impl Bytes) -> Option<*mut Ethernet> {
    let start = core::hint::black_box(packet.start());
    if start + size_of::<Ethernet>() > packet.end() {
        return None;
    }
    Some(start as *mut Ethernet)
}

/// IPv6 header (RFC 8200 section 3).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv6 {
    pub version_class_flow: u32,
    pub payload_length: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: [u32; 4],
    pub destination: [u32; 4],
}

pub(crate) const IPV6: usize = size_of::<Ipv6>();
/// Octets of an Ethernet header without tags.
pub(crate) const ETHERNET: usize = size_of::<Ethernet>();

/// Where the headers are.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Offset of the IPv6 header.
    pub ipv6: usize,
    /// The frame carries a VLAN tag.
    pub tagged: bool,
}

/// Finds the IPv6 header behind up to two VLAN tags.
#[inline(always)]
pub(crate) fn ipv6(packet: &impl Bytes) -> Option<(Layout, *mut Ipv6)> {
    let ethernet: Ethernet = packet.read(0)?;
    let mut ethertype = ethernet.ethertype;
    let mut offset = size_of::<Ethernet>();
    for _ in 0..2 {
        if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
            break;
        }
        ethertype = packet.read(offset + 2)?;
        offset += 4;
    }
    if ethertype != ETHERTYPE_IPV6 {
        return None;
    }
    let header = packet.at::<Ipv6>(offset)?;
    let layout = Layout {
        ipv6: offset,
        tagged: offset != size_of::<Ethernet>(),
    };
    Some((layout, header))
}

/// The IPv6 header of a packet of a device without Ethernet, whose packets begin with it.
#[inline(always)]
pub(crate) fn bare_ipv6(packet: &impl Bytes) -> Option<(Layout, *mut Ipv6)> {
    let header = packet.at::<Ipv6>(0)?;
    // SAFETY: `at` checked the bounds.
    let first = u32::from_be(unsafe { (*header).version_class_flow });
    let layout = Layout {
        ipv6: BARE,
        tagged: false,
    };
    (first >> 28 == 6).then_some((layout, header))
}

/// [`ipv6`] or [`bare_ipv6`].
#[inline(always)]
pub(crate) fn ipv6_of<const IS_BARE: bool>(packet: &impl Bytes) -> Option<(Layout, *mut Ipv6)> {
    if IS_BARE {
        bare_ipv6(packet)
    } else {
        ipv6(packet)
    }
}

/// Where the IPv6 header of a packet without an Ethernet header is. No other is there.
pub(crate) const BARE: usize = 0;

/// The upper layer of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Upper {
    /// Protocol number.
    pub protocol: u8,
    /// Offset of its header in the frame.
    pub offset: usize,
}

/// What the fragments of a packet have in common besides their addresses.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    /// Identification, network order.
    pub identification: u32,
    /// Next Header of the Fragment header.
    pub protocol: u8,
}

/// Fragment header (RFC 8200 section 4.5).
#[repr(C)]
#[derive(Clone, Copy)]
struct FragmentHeader {
    next_header: u8,
    reserved: u8,
    /// Offset in units of 8 octets, two reserved bits, More Fragments.
    offset_more: u16,
    identification: u32,
}

/// What the chain of extension headers leads to.
pub(crate) enum Chain {
    /// An upper-layer header.
    Upper(Upper),
    /// The first piece of a larger packet, with the upper-layer header.
    First(Upper, Piece),
    /// A later piece.
    Later(Piece),
    /// Too long, cut short, or with a header that decides where the packet goes.
    Unknown,
}

/// Finds the upper-layer header behind the extension headers.
#[inline(always)]
pub(crate) fn chain(packet: &impl Bytes, layout: Layout, next_header: u8) -> Chain {
    let offset = layout.ipv6 + IPV6;
    if !is_extension(next_header) {
        let protocol = next_header;
        return Chain::Upper(Upper { protocol, offset });
    }
    walk(packet, next_header, offset)
}

/// A header that is walked over, or that ends the walk.
#[inline(always)]
fn is_extension(next_header: u8) -> bool {
    matches!(next_header, 0 | 43 | 44 | 51 | 59 | 60)
}

/// Walks the extension headers, within bounds.
#[inline(always)]
fn walk(packet: &impl Bytes, next_header: u8, offset: usize) -> Chain {
    let mut protocol = next_header;
    let mut offset = offset;
    for _ in 0..MAX_EXTENSIONS {
        match protocol {
            // Hop-by-Hop Options, Destination Options
            0 | 60 => {
                let Some([next, length]) = packet.read::<[u8; 2]>(offset) else {
                    return Chain::Unknown;
                };
                protocol = next;
                offset += (length as usize + 1) * 8;
                // Who is cut short in it has no upper-layer header.
                if packet.read::<[u8; 2]>(offset - 2).is_none() {
                    return Chain::Unknown;
                }
            }
            44 => {
                let Some(header) = packet.read::<FragmentHeader>(offset) else {
                    return Chain::Unknown;
                };
                let piece = Piece {
                    identification: header.identification,
                    protocol: header.next_header,
                };
                if is_extension(piece.protocol) {
                    return Chain::Unknown;
                }
                if header.offset_more & OFFSET != 0 {
                    return Chain::Later(piece);
                }
                let Some(upper) = upper(piece.protocol, offset + size_of::<FragmentHeader>())
                else {
                    return Chain::Unknown;
                };
                // Alone, it is no piece of anything (RFC 6946).
                if header.offset_more & MORE == 0 {
                    return Chain::Upper(upper);
                }
                return Chain::First(upper, piece);
            }
            // A Routing Header names another destination; AH covers the addresses.
            43 | 51 | 59 => return Chain::Unknown,
            _ => break,
        }
    }
    match upper(protocol, offset) {
        Some(upper) if !is_extension(protocol) => Chain::Upper(upper),
        _ => Chain::Unknown,
    }
}

/// An upper-layer header whose offset is not a constant. All of it lies within [`MAX_OFFSET`], so
/// that a header which can be read can be written.
#[inline(always)]
fn upper(protocol: u8, offset: usize) -> Option<Upper> {
    if offset > MAX_OFFSET - UPPER_HEADER {
        return None;
    }
    // The verifier now knows no more of one offset than of another, and checks what follows once
    // instead of once for every number of extension headers.
    let offset = core::hint::black_box(offset) & MAX_OFFSET;
    Some(Upper { protocol, offset })
}

/// A copy of a key, on the stack: before Linux 6.2 no lookup takes one from the memory that a global function is given.
#[inline(always)]
pub(crate) fn on_stack<T: Copy>(key: &T) -> T {
    *key
}

/// The octets of an address.
#[inline(always)]
pub(crate) fn octets(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both are 16 plain bytes.
    unsafe { core::mem::transmute(words) }
}

/// The words of an address, in network order.
#[inline(always)]
pub(crate) fn words(octets: &[u8; 16]) -> [u32; 4] {
    // SAFETY: as above.
    unsafe { core::mem::transmute(*octets) }
}

/// Whether the address has the prefix FE80::/10.
#[inline(always)]
pub(crate) fn is_link_local(address: &[u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// Whether it is the unspecified or the loopback address.
#[inline(always)]
pub(crate) fn is_local(address: &[u8; 16]) -> bool {
    let [first, second, third, fourth] = words(address);
    first | second | third == 0 && u32::from_be(fourth) <= 1
}

/// Whether the address has the prefix FF00::/8.
#[inline(always)]
pub(crate) fn is_multicast(address: &[u8; 16]) -> bool {
    address[0] == 0xff
}
