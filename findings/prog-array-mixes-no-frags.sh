#!/usr/bin/env bash
# A BPF program array that holds an XDP program takes no other whose section is xdp.frags, and the other way round.
#
# Versions   the running kernel, bpftool and clang (printed)
# Expected   Both are programs of type XDP, and an array of programs is told by their type. A program that takes
#            fragments was expected to be allowed to call one that does not, since packets are linear at most
#            interfaces, or to be refused when it is attached to one where they need not be.
# Seen       What the array holds first decides, whatever the MTU: the other kind is refused with "Invalid argument"
#            when it is put in, without a word of why, since the verifier is long done. The same kind is taken.
# Source     bpf_prog_map_compatible() in kernel/bpf/core.c compares xdp_has_frags with that of the map's owner.
# Lesson     A chain of tail calls moves to xdp.frags as a whole, and an array that an older version has pinned cannot
#            be used by a newer one that has moved.
set -euo pipefail
shopt -s inherit_errexit

for tool in bpftool clang unshare; do
    command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
[ -n "${IN_NAMESPACE-}" ] || IN_NAMESPACE=1 exec unshare --mount -- bash "$0"
uname -r
bpftool version | head -n 1
clang --version | head -n 1
work=$(mktemp -d)
trap 'umount "$work/bpf"; rm -rf "$work"' EXIT
mkdir "$work/bpf"
mount -t bpf bpf "$work/bpf"
for kind in xdp xdp.frags; do
    cat >"$work/pass.c" <<EOF
__attribute__((section("$kind"), used)) int pass(void *context) { return 2; }
char terms[] __attribute__((section("license"), used)) = "GPL";
EOF
    clang -O2 -g -target bpf -c "$work/pass.c" -o "$work/pass.o"
    bpftool prog load "$work/pass.o" "$work/bpf/${kind/./_}" type xdp
    bpftool prog load "$work/pass.o" "$work/bpf/${kind/./_}_too" type xdp
done

# Whether an array that holds the first program takes the second.
takes() {
    local array=$work/bpf/array_$1_$2
    bpftool map create "$array" type prog_array key 4 value 4 entries 2 name array
    bpftool map update pinned "$array" key 0 0 0 0 value pinned "$work/bpf/$1"
    if said=$(bpftool map update pinned "$array" key 1 0 0 0 value pinned "$work/bpf/$2" 2>&1); then
        echo taken
    else
        echo "${said##*: }"
    fi
}
found=""
for pair in "xdp xdp_too" "xdp xdp_frags" "xdp_frags xdp" "xdp_frags xdp_frags_too"; do
    answer=$(takes $pair)
    echo "$pair: $answer"
    found+="$answer;"
done
[ "$found" = "taken;Invalid argument;Invalid argument;taken;" ] || { echo "this has changed" >&2; exit 1; }
