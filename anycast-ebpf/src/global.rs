//! Functions about a packet that the verifier follows once.
//!
//! The verifier follows a function as often as callers reach it with something else that is known of the packet: with
//! three places of the IPv6 header, seven lengths of the chain behind it and three ends of each test, that
//! was half a million instructions. A global function it follows by itself, by the types of its parameters and for any
//! values of them; for its callers it is one instruction, of whose result nothing is known. So each takes the context
//! and a [`Parsed`](crate::context::Parsed), and finds the packet again by them.

/// Makes a function `name(ctx, parsed, ..)` for any context of the hooks that are named, out of `body(packet, ..)`.
/// What it gives must be a number, and its parameters numbers or pointers to plain structures, five of them with the
/// two that each has. `otherwise` is what it gives where the packet is not there, which nobody but the verifier can
/// reach.
macro_rules! global {
    (
        $(#[$doc:meta])*
        $visibility:vis fn $name:ident(packet $(, $argument:ident: $type:ty)*) -> $returns:ty;
        $body:ident or $otherwise:expr;
        $xdp:ident, $ingress:ident $(, $egress:ident)?
    ) => {
        $(#[$doc])*
        #[inline(always)]
        $visibility fn $name<C: $crate::context::Context>(
            ctx: &C,
            parsed: &$crate::context::Parsed
            $(, $argument: $type)*
        ) -> $returns {
            let context = ctx.as_ptr();
            let parsed = core::ptr::from_ref(parsed);
            // SAFETY: the context is the kernel's, and what it says of the packet is there.
            unsafe {
                match C::HOOK {
                    $crate::context::Hook::Xdp => $xdp(context.cast(), parsed $(, $argument)*),
                    $crate::context::Hook::Ingress => {
                        $ingress(context.cast(), parsed $(, $argument)*)
                    }
                    $crate::context::Hook::Egress => $crate::global::called!(
                        [$($egress)?], (context.cast(), parsed $(, $argument)*), $otherwise
                    ),
                }
            }
        }

        $crate::global::exported!(
            [$xdp], xdp_md, aya_ebpf::programs::XdpContext::new,
            $body, ($($argument: $type),*), $returns, $otherwise
        );
        $crate::global::exported!(
            [$ingress], __sk_buff, $crate::skb::Skb::<false>::new,
            $body, ($($argument: $type),*), $returns, $otherwise
        );
        $crate::global::exported!(
            [$($egress)?], __sk_buff, $crate::skb::Skb::<true>::new,
            $body, ($($argument: $type),*), $returns, $otherwise
        );
    };
}

/// A call of a function, or the value where there is nothing of it on the way out.
macro_rules! called {
    ([$name:ident], $arguments:tt, $otherwise:expr) => {
        $name $arguments
    };
    ([], $arguments:tt, $otherwise:expr) => {
        $otherwise
    };
}

/// One of the functions of [`global`]. The verifier knows the context by the name of its type.
macro_rules! exported {
    (
        [], $context:ident, $new:expr, $body:ident,
        ($($argument:ident: $type:ty),*), $returns:ty, $otherwise:expr
    ) => {};
    (
        [$name:ident], $context:ident, $new:expr, $body:ident,
        ($($argument:ident: $type:ty),*), $returns:ty, $otherwise:expr
    ) => {
        /// One of the functions that the verifier follows once.
        ///
        /// # Safety
        ///
        /// The context must be the kernel's, and what is said of the packet must be there.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub unsafe extern "C" fn $name(
            context: *mut aya_ebpf::bindings::$context,
            parsed: *const $crate::context::Parsed
            $(, $argument: $type)*
        ) -> $returns {
            let context = $new(context);
            // SAFETY: by the caller; the verifier cannot know that it is there.
            let Some(parsed) = (unsafe { parsed.as_ref() }) else {
                return $otherwise;
            };
            match $crate::context::Packet::again(&context, parsed) {
                Some(packet) => $body(&packet $(, $argument)*),
                None => $otherwise,
            }
        }
    };
}

pub(crate) use {called, exported, global};
