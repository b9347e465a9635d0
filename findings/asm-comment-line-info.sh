#!/usr/bin/env bash
# An inline assembly statement that holds nothing but a comment makes a BPF program that the kernel refuses.
#
# Versions   clang 19.1.7 (Debian 1:19.1.7-3~deb12u1), bpftool 7.1.0 with libbpf 1.1, any kernel with BTF line
#            information (5.0 and later; seen with 6.18)
# Expected   `asm volatile("/* %0 */" : "+r"(x))` is as good a compiler barrier as `asm volatile("" : "+r"(x))`: both
#            assemble to no instruction. rustc even proposes the comment for an operand that is not named.
# Seen       The empty string works. With the comment and -g, .BTF.ext has two lines of source for one instruction:
#            that of the statement and that of what follows. The kernel wants growing offsets and answers -EINVAL:
#            "Invalid line_info[3].insn_off:2 (prev_offset:2 prog->len:7)".
# Source     check_btf_line() in the kernel's kernel/bpf/verifier.c; "BTF.ext" in Documentation/bpf/btf.rst: line_info
#            is sorted by insn_off in increasing order.
# Lesson     Write a barrier as the empty string or, where an operand must be named, as a move to itself: "%0 = %0".
set -euo pipefail
shopt -s inherit_errexit

packages=(
    clang-19=1:19.1.7-3~deb12u1
    libclang-cpp19=1:19.1.7-3~deb12u1
    libllvm19=1:19.1.7-3~deb12u1
    libclang-common-19-dev=1:19.1.7-3~deb12u1
    bpftool=7.1.0+6.1.176-1
)
[ "$(id -u)" = 0 ] || { echo "needs root, to load a program" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download --quiet=2 "${packages[@]}" >/dev/null 2>&1 ||
    { apt-get update --quiet=2 && apt-get download --quiet=2 "${packages[@]}"; } >/dev/null
for package in *.deb; do dpkg-deb --extract "$package" root; done
clang=root/usr/lib/llvm-19/bin/clang
bpftool=root/usr/sbin/bpftool
libraries=$work/root/usr/lib/llvm-19/lib:$work/root/usr/lib/x86_64-linux-gnu

cat >barrier.c <<'C'
struct context { unsigned data, data_end, meta, ingress, queue, egress; };

__attribute__((section("xdp"), used)) int barrier(struct context *context)
{
	unsigned long start = context->data, end = context->data_end;

	asm volatile(BARRIER : "+r"(start));
	return start + 14 > end ? 1 : 2;
}

__attribute__((section("license"), used)) char LICENSE[] = "GPL";
C

# Says what the kernel makes of the program: "loaded", or its reason.
try() {
    LD_LIBRARY_PATH=$libraries "$clang" -target bpf -O2 "$2" -D"BARRIER=$1" -c barrier.c -o barrier.o
    unshare --mount bash -c '
        mount -t bpf bpf /sys/fs/bpf
        if said=$("$1" prog load barrier.o /sys/fs/bpf/barrier 2>&1); then
            echo loaded
        else
            grep -m 1 -o "Invalid line_info.*" <<<"$said" || echo "$said"
        fi' bash "$bpftool"
}

"$bpftool" version | head -n 1
LD_LIBRARY_PATH=$libraries "$clang" --version | head -n 1
empty=$(try '""' -g)
comment=$(try '"/* %0 */"' -g)
without=$(try '"/* %0 */"' -g0)
move=$(try '"%0 = %0"' -g)
printf '%-34s %s\n' 'empty string, -g:' "$empty" 'comment, -g:' "$comment" \
    'comment, no debug information:' "$without" 'move to itself, -g:' "$move"
[ "$empty" = loaded ] && [ "$without" = loaded ] && [ "$move" = loaded ] &&
    [[ $comment == "Invalid line_info"* ]] || { echo "this has changed" >&2; exit 1; }
