//! The binary interface between the eBPF programs and the controller.
//!
//! Every type here is `repr(C)`, has no implicit padding (asserted by `IntoBytes`) and accepts any
//! bit pattern (`FromBytes`), so a value read from a map is never undefined behaviour. Addresses
//! are `[u8; 16]` in network order, ports are the two bytes of the wire, times are nanoseconds of
//! `CLOCK_MONOTONIC` (what `bpf_ktime_get_ns` gives), tags are integers: never a Rust enum, `bool`
//! or `Option`, whose layout or validity the other side could break.

/// Asserts the size of types that the maps hold, and tells aya that they are plain data.
macro_rules! layout {
    ($($type:ident: $size:literal),* $(,)?) => {
        $(
            const _: () = assert!(size_of::<$type>() == $size && align_of::<$type>() <= 8);

            // SAFETY: `FromBytes` and `IntoBytes` below say that every bit pattern is a value and
            // that there is no padding.
            #[cfg(feature = "user")]
            unsafe impl aya::Pod for $type {}
        )*
    };
}

pub mod capture;
pub mod counters;
pub mod event;
pub mod flow_table;
pub mod maps;
pub mod pins;
pub mod policy;

/// Names of the eBPF programs, as they appear in the object, in `bpftool` and in `status`.
pub mod programs {
    /// XDP programs by the union of the roles of an interface: index with a mask of [`super::roles`].
    pub const XDP: [&str; 8] = [
        "anycast_pass",
        "anycast_r",
        "anycast_m",
        "anycast_rm",
        "anycast_c",
        "anycast_rc",
        "anycast_mc",
        "anycast_rmc",
    ];
    /// TCX ingress programs by the union of the roles of an interface; there is none without a role.
    pub const TCX: [&str; 8] = [
        "",
        "anycast_r_in",
        "anycast_m_in",
        "anycast_rm_in",
        "anycast_c_in",
        "anycast_rc_in",
        "anycast_mc_in",
        "anycast_rmc_in",
    ];
    /// TCX ingress programs of devices without Ethernet, whose packets begin with the IPv6 header; a router has none.
    pub const TCX_BARE: [&str; 8] = [
        "",
        "",
        "anycast_m_in3",
        "",
        "anycast_c_in3",
        "",
        "anycast_mc_in3",
        "",
    ];
    /// TCX egress program of a member's interface.
    pub const MEMBER_EGRESS: &str = "anycast_m_out";
    /// TCX egress program of a correspondent's interface, where it has TCX on the way in, too.
    pub const CORRESPONDENT_EGRESS: &str = "anycast_c_out";
    /// That of both.
    pub const BOTH_EGRESS: &str = "anycast_mc_out";
    /// That of a member, of a device without Ethernet.
    pub const MEMBER_EGRESS_BARE: &str = "anycast_m_out3";
    /// That of a correspondent, likewise.
    pub const CORRESPONDENT_EGRESS_BARE: &str = "anycast_c_out3";
    /// That of both, likewise.
    pub const BOTH_EGRESS_BARE: &str = "anycast_mc_out3";
}

/// Bits of a role mask.
pub mod roles {
    /// First-hop router of members.
    pub const ROUTER: u8 = 1;
    /// Server that serves anycast addresses.
    pub const MEMBER: u8 = 2;
    /// Client-side gateway or client.
    pub const CORRESPONDENT: u8 = 4;
}

/// Read-only globals of the object, set before it is loaded.
pub mod globals {
    /// `u8`: 1 refuses MLD messages without a Router Alert option (RFC 2711), 0 accepts them.
    pub const REQUIRE_ROUTER_ALERT: &str = "REQUIRE_ROUTER_ALERT";
    /// Two random `u64`: the key of the hash by which buckets are found.
    pub const HASH_KEY: &str = "HASH_KEY";
    /// [`Secret`](super::flow_table::Secret): key of the hash by which pinned flows are found.
    pub const FLOW_SECRET: &str = "FLOW_SECRET";
    /// `u32`: sets of the table of pinned flows.
    pub const FLOW_SETS: &str = "FLOW_SETS";
    /// `u64`: for how many jiffies what is cached holds, see
    /// [`FLOW_CACHE_LIFE`](super::maps::FLOW_CACHE_LIFE).
    pub const CACHE_JIFFIES: &str = "CACHE_JIFFIES";
}
