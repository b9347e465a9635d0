//! Where a packet goes next, and who sends it.

/// How a packet will go once it is rewritten.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The program sends it.
    Program,
    /// The kernel forwards or receives it: no neighbour yet, a local address, a VLAN tag, a device
    /// that takes no frames of XDP; at TCX, all but what leaves by another way than it came to.
    Kernel,
    /// There is no way to the address.
    None,
    /// It must not be rewritten: the kernel answers it with Time Exceeded, which has to quote what the
    /// sender sent.
    Refused,
    /// The kernel answers it with Packet Too Big.
    TooBig,
}

impl Way {
    /// Whether the kernel answers it with an ICMPv6 error.
    #[inline(always)]
    pub(crate) fn ends_here(self) -> bool {
        matches!(self, Self::Refused | Self::TooBig)
    }
}

/// Where a packet will go. A plain structure without padding: what a variant leaves out would be octets that
/// the verifier has never seen written.
#[repr(C, align(8))]
pub struct NextHop {
    pub ifindex: u32,
    /// Octets of the largest packet that goes there; 0: that is not known, and others like it are not to be sent alike.
    pub mtu: u16,
    pub source: [u16; 3],
    /// On the way out at TCX: that of the frame as it is.
    pub destination: [u16; 3],
    pub way: Way,
    pub reserved: [u8; 5],
}

impl NextHop {
    #[inline(always)]
    pub(crate) fn by(way: Way) -> Self {
        Self {
            ifindex: 0,
            mtu: 0,
            source: [0; 3],
            destination: [0; 3],
            way,
            reserved: [0; 5],
        }
    }
}
