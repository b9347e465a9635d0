//! The programs of `anycast-ctl capture`, an object of their own.
//!
//! The kernel calls them before and after a program of the data plane (`fentry` and `fexit` of a BPF program), so the
//! data plane costs nothing more while nobody captures. The first copies the packet as the program gets it, the other
//! what became of it, with the verdict and with the counters that moved meanwhile, which say why.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "lengths are bounded by the packet, counters are few"
)]

#[cfg(target_arch = "bpf")]
mod programs {
    use core::{ptr, slice};

    use anycast_common::abi::{
        capture::{
            BARE, Head, MOST, OCTETS, PADDING, PADDINGS, PLACES, REASONS, RING, Settings, Totals,
            WINDOW, verdict,
        },
        counters::Counter,
    };
    use aya_ebpf::{
        EbpfContext,
        btf_maps::{Array, PerCpuArray, RingBuf},
        helpers::{
            bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_probe_read_kernel_buf,
            generated::{bpf_get_attach_cookie, bpf_get_smp_processor_id, bpf_xdp_get_buff_len},
        },
        macros::{btf_map, fentry, fexit},
        programs::{FEntryContext, FExitContext},
    };

    /// A record: the packet before the program, and in another place the packet after it.
    #[repr(C, align(8))]
    struct Record {
        head: Head,
        octets: [u8; OCTETS],
    }

    #[btf_map]
    static SETTINGS: Array<Settings, 1> = Array::new();
    #[btf_map]
    static SEEN: RingBuf<(), RING> = RingBuf::new();
    #[btf_map]
    static RECORD: PerCpuArray<Record, 1> = PerCpuArray::new();
    #[btf_map]
    static BEFORE: PerCpuArray<[u64; Counter::ALL.len()], 1> = PerCpuArray::new();
    #[btf_map]
    static TOTALS: PerCpuArray<Totals, 1> = PerCpuArray::new();
    #[btf_map]
    static COUNTERS: PerCpuArray<u64, { Counter::ALL.len() }> = PerCpuArray::new();

    /// Where a packet is.
    struct Place {
        data: *const u8,
        /// Octets that can be read there.
        linear: u32,
        whole: u32,
        device: *const u8,
    }

    #[fentry]
    fn capture_xdp_before(ctx: FEntryContext) -> i32 {
        before(&ctx, ctx.arg(0), of_xdp).unwrap_or(0)
    }

    #[fentry]
    fn capture_tcx_before(ctx: FEntryContext) -> i32 {
        before(&ctx, ctx.arg(0), of_skb).unwrap_or(0)
    }

    #[fexit]
    fn capture_xdp_after(ctx: FExitContext) -> i32 {
        let verdict = ctx.ret::<i32>().unwrap_or(0);
        after(&ctx, ctx.arg(0), verdict, |it| it.xdp, of_xdp).unwrap_or(0)
    }

    #[fexit]
    fn capture_tcx_after(ctx: FExitContext) -> i32 {
        let verdict = ctx.ret::<i32>().unwrap_or(0);
        after(&ctx, ctx.arg(0), verdict, |it| it.tcx, of_skb).unwrap_or(0)
    }

    /// A field of one of the kernel's structures.
    #[inline(always)]
    fn field<T>(of: *const u8, offset: u32) -> Option<T> {
        // SAFETY: the helper reads what is there, and tells when nothing is.
        unsafe { bpf_probe_read_kernel(of.wrapping_add(offset as usize).cast::<T>()) }.ok()
    }

    #[inline(always)]
    fn of_xdp(buffer: *const u8, settings: &Settings) -> Option<Place> {
        // SAFETY: it is the `xdp_buff` of the program that is looked at, as the verifier knows.
        let whole = unsafe { bpf_xdp_get_buff_len(buffer.cast_mut().cast()) } as u32;
        let offsets = &settings.offsets;
        let data: usize = field(buffer, offsets.xdp_data)?;
        let end: usize = field(buffer, offsets.xdp_data_end)?;
        let queue: usize = field(buffer, offsets.xdp_queue)?;
        let device: usize = field(queue as *const u8, offsets.queue_device)?;
        Some(Place {
            data: data as *const u8,
            linear: end.wrapping_sub(data) as u32,
            whole,
            device: device as *const u8,
        })
    }

    #[inline(always)]
    fn of_skb(buffer: *const u8, settings: &Settings) -> Option<Place> {
        let offsets = &settings.offsets;
        let data: usize = field(buffer, offsets.skb_data)?;
        let whole: u32 = field(buffer, offsets.skb_length)?;
        let paged: u32 = field(buffer, offsets.skb_paged)?;
        let device: usize = field(buffer, offsets.skb_device)?;
        Some(Place {
            data: data as *const u8,
            linear: whole.wrapping_sub(paged),
            whole,
            device: device as *const u8,
        })
    }

    /// Copies a packet to a place of the record, which begins with `padding`, and gives the octets that are there.
    #[inline(always)]
    fn copy(
        record: &mut Record,
        place: u32,
        padding: u32,
        packet: &Place,
        length: u32,
    ) -> Option<u32> {
        let length = packet.linear.min(length) & MOST;
        let at = ((place & PLACES) + (padding & PADDINGS)) as usize;
        // SAFETY: the masks keep it within the octets of the record.
        unsafe {
            let to = ptr::from_mut(&mut record.octets).cast::<u8>().add(at);
            bpf_probe_read_kernel_buf(packet.data, slice::from_raw_parts_mut(to, length as usize))
                .ok()?;
        }
        Some(length)
    }

    /// Whether an address stands in the first octets of a packet.
    #[inline(never)]
    fn mentions(octets: *const u8, end: u32, wanted: *const [u32; 4]) -> u32 {
        let mut at = 0;
        while at + 16 <= WINDOW {
            if at + 16 > end {
                return 0;
            }
            // SAFETY: the caller has that many octets, and a record's are aligned.
            let found = unsafe { *octets.add(at as usize).cast::<[u32; 4]>() };
            // SAFETY: the caller lends it.
            let wanted = unsafe { &*wanted };
            if found[0] == wanted[0]
                && found[1] == wanted[1]
                && found[2] == wanted[2]
                && found[3] == wanted[3]
            {
                return 1;
            }
            at += 4;
        }
        0
    }

    #[inline(always)]
    fn is_any(address: &[u32; 4]) -> bool {
        address[0] | address[1] | address[2] | address[3] == 0
    }

    #[inline(always)]
    fn before(
        ctx: &impl EbpfContext,
        buffer: *const u8,
        packet: impl FnOnce(*const u8, &Settings) -> Option<Place>,
    ) -> Option<i32> {
        let settings = SETTINGS.get(0)?;
        // SAFETY: these slots belong to this CPU, on which one program of ours runs at a time.
        let (record, counted) =
            unsafe { (&mut *RECORD.get_ptr_mut(0)?, &mut *BEFORE.get_ptr_mut(0)?) };
        // Until all of it is there, nothing is.
        record.head.cookie = 0;
        let packet = packet(buffer, settings)?;
        let interface: u32 = field(packet.device, settings.offsets.device_index)?;
        if settings.interface != 0 && settings.interface != interface {
            return None;
        }
        // SAFETY: the context is the kernel's.
        let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
        let padding = if cookie & BARE != 0 { 0 } else { PADDING };
        let length = copy(record, 0, padding, &packet, settings.length)?;
        let octets = ptr::from_ref(&record.octets).cast::<u8>();
        if !is_any(&settings.client) && mentions(octets, padding + length, &settings.client) == 0 {
            return None;
        }
        let mut index = 0;
        while index < Counter::ALL.len() {
            if let Some(counter) = COUNTERS.get(index as u32) {
                counted[index] = *counter;
            }
            index += 1;
        }
        let head = &mut record.head;
        head.padding = padding;
        head.before = length;
        head.before_whole = packet.whole;
        head.ifindex = interface;
        // SAFETY: it has no arguments.
        head.time = unsafe { bpf_ktime_get_ns() };
        head.cookie = cookie;
        Some(0)
    }

    #[inline(always)]
    fn after(
        ctx: &impl EbpfContext,
        buffer: *const u8,
        returned: i32,
        wanted: impl FnOnce(&Settings) -> u32,
        packet: impl FnOnce(*const u8, &Settings) -> Option<Place>,
    ) -> Option<i32> {
        // SAFETY: it has no arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        let settings = SETTINGS.get(0)?;
        // SAFETY: as in `before`.
        let (record, counted, totals) = unsafe {
            (
                &mut *RECORD.get_ptr_mut(0)?,
                &*BEFORE.get_ptr_mut(0)?,
                &mut *TOTALS.get_ptr_mut(0)?,
            )
        };
        // SAFETY: the context is the kernel's.
        let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
        // The other program was not called, or did not want it.
        if record.head.cookie != cookie || wanted(settings) & verdict(returned) == 0 {
            return None;
        }
        record.head.cookie = 0;
        let packet = packet(buffer, settings)?;
        let (place, padding) = (settings.place & PLACES, record.head.padding & PADDINGS);
        let length = copy(record, place, padding, &packet, settings.length)?;
        if !is_any(&settings.anycast) {
            let octets = ptr::from_ref(&record.octets).cast::<u8>();
            let first = mentions(octets, padding + record.head.before, &settings.anycast);
            // SAFETY: the mask keeps it within the octets of the record.
            let octets = unsafe { octets.add(place as usize) };
            if first | mentions(octets, padding + length, &settings.anycast) == 0 {
                return None;
            }
        }
        if settings.rate.every != 0 {
            let full = totals.full.max(now);
            if full - now > settings.rate.depth {
                totals.limited += 1;
                return None;
            }
            totals.full = full + settings.rate.every;
        }
        let head = &mut record.head;
        head.counted = 0;
        let mut index = 0;
        while index < Counter::ALL.len() {
            if let Some(counter) = COUNTERS.get(index as u32)
                && counted[index] != *counter
            {
                if (head.counted as usize) < REASONS {
                    head.reasons[head.counted as usize & (REASONS - 1)] = index as u16;
                }
                head.counted += 1;
            }
            index += 1;
        }
        totals.told += 1;
        head.cookie = cookie;
        head.took = now - head.time;
        head.number = totals.told;
        // SAFETY: it has no arguments.
        head.cpu = unsafe { bpf_get_smp_processor_id() };
        head.verdict = returned;
        head.place = place;
        head.after = length;
        head.after_whole = packet.whole;
        let size = size_of::<Head>() + (place + padding + length) as usize;
        // SAFETY: the masks keep the size within the record.
        let told = unsafe { slice::from_raw_parts(ptr::from_ref(record).cast::<u8>(), size) };
        if SEEN.output_untyped::<[u8]>(told, 0).is_err() {
            totals.lost += 1;
        }
        record.head.cookie = 0;
        Some(0)
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    /// The helpers that read the kernel's memory are for programs under its licence.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

// The host build of the workspace sees an empty program; the real one has the BPF target.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
