//! aya-log, into a map that libbpf loads too.
//!
//! `aya-log-ebpf` declares its ring buffer in the legacy `maps` section, which libbpf 1.0 and
//! later refuse together with the whole object. Its macros name only `macro_support`, so this
//! module stands in for that crate with a BTF map of the same name, and the records are those
//! that `aya-log` reads.

use aya_ebpf::{Global, btf_maps::RingBuf, macros::btf_map};
#[expect(unused_imports, reason = "the macros use what the arguments need")]
pub(crate) use aya_log_common::{
    Argument, DefaultFormatter, DisplayHint, Field, Header, IpFormatter, Level, LogValueLength,
    LowerHexFormatter, LowerMacFormatter, PointerFormatter, UpperHexFormatter, UpperMacFormatter,
};

/// Records of aya-log.
#[btf_map]
pub(crate) static AYA_LOGS: RingBuf<(), { 1 << 16 }> = RingBuf::new();

/// Highest level that is logged; `aya-log` sets it before the object is loaded.
#[unsafe(no_mangle)]
pub(crate) static AYA_LOG_LEVEL: Global<u8> = Global::new(Level::Info as u8);

/// Whether `level` is logged.
#[inline(always)]
pub(crate) fn level_enabled(level: Level) -> bool {
    level as u8 <= AYA_LOG_LEVEL.load()
}
