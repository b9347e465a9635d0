//! The kernel side. For now one program that lets every packet pass and counts it, so that the
//! build, the BTF map definitions and the loader can be tried out.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod kernel {
    use aya_ebpf::{
        bindings::xdp_action::XDP_PASS,
        btf_maps::PerCpuArray,
        macros::{btf_map, xdp},
        programs::XdpContext,
    };

    /// Packets seen.
    #[btf_map]
    static SEEN: PerCpuArray<u64, 1> = PerCpuArray::new();

    #[xdp]
    fn anycast_pass(_: XdpContext) -> u32 {
        if let Some(seen) = SEEN.get_ptr_mut(0) {
            // SAFETY: the helper returned a valid slot, and no other CPU has this one.
            unsafe { *seen += 1 };
        }
        XDP_PASS
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    /// The licence that the kernel reads before it allows GPL-only helpers.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
