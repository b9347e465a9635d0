//! aya-log, into a map that libbpf loads too.
//!
//! `aya-log-ebpf` declares its ring buffer in the legacy `maps` section, which libbpf 1.0 and
//! later refuse together with the whole object. Its macros name only `macro_support`, so this
//! module stands in for that crate with a BTF map of the same name, and the records are those
//! that `aya-log` reads.

use aya_ebpf::{Global, btf_maps::RingBuf, macros::btf_map, maps::ring_buf::RingBufBytes};
#[expect(unused_imports, reason = "the macros use what the arguments need")]
pub(crate) use aya_log_common::{
    Argument, DefaultFormatter, DisplayHint, Field, Header, IpFormatter, Level, LogValueLength,
    LowerHexFormatter, LowerMacFormatter, PointerFormatter, UpperHexFormatter, UpperMacFormatter,
};

/// Records of aya-log.
#[btf_map(name = "AYA_LOGS")]
static RECORDS: RingBuf<(), { 1 << 16 }> = RingBuf::new();

/// Octets of a record, more than any log line of the programs takes. One that took more would be discarded.
const ROOM: usize = 256;

/// Gives each record the same room, whatever the macros ask for: they hide from the compiler how long a record is, and
/// the verifier would follow the writing of it for each of the eight sizes that might be meant.
pub(crate) struct Records;

/// What the macros call the map.
pub(crate) static AYA_LOGS: Records = Records;

impl Records {
    #[inline(always)]
    pub(crate) fn reserve_bytes(&self, _wanted: usize, flags: u64) -> Option<RingBufBytes<'_>> {
        RECORDS.reserve_bytes(ROOM, flags)
    }
}

/// Highest level that is logged; `aya-log` sets it before the object is loaded.
#[unsafe(no_mangle)]
pub(crate) static AYA_LOG_LEVEL: Global<u8> = Global::new(Level::Info as u8);

/// Whether `level` is logged.
#[inline(always)]
pub(crate) fn level_enabled(level: Level) -> bool {
    level as u8 <= AYA_LOG_LEVEL.load()
}
