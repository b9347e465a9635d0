#!/usr/bin/env bash
# XDP at one end of a veth pair takes segmentation offloads from the other end, also where the program takes fragments.
#
# Versions   the running kernel, iproute2, ethtool and clang (printed)
# Expected   Offloads that XDP does not get along with were expected to go at the interface where the program is, as
#            LRO and hardware GRO do at cards, and none for a program of section xdp.frags, which takes large packets.
# Seen       The interface with the program keeps all that it had. The other end of the pair, often in another network
#            namespace, loses tcp-segmentation-offload, which reads "off", and tx-udp-segmentation, which
#            reads "off [fixed]": large sends are cut there by software, at its sender's cost. With xdp.frags it is the
#            same. Both come back when the program goes.
# Source     veth_xdp_set() in drivers/net/veth.c takes NETIF_F_GSO_SOFTWARE from hw_features of the peer; whether the
#            program takes fragments only matters for the MTU there.
# Lesson     A throughput before and after XDP on veth also compares senders with and without segmentation offload. Who
#            wants the program's cost alone turns it off at the sender in both cases.
set -euo pipefail
shopt -s inherit_errexit

for tool in ip ethtool clang unshare; do
    command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
# iproute2 mounts a BPF file system where there is none.
[ -n "${IN_NAMESPACE-}" ] || IN_NAMESPACE=1 exec unshare --net --mount -- bash "$0"
uname -r
ip -V
ethtool --version
clang --version | head -n 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/pass.c" <<'EOF'
#define SECTION(name) __attribute__((section(name), used))
SECTION("xdp") int plain(void *context) { return 2; }
SECTION("xdp.frags") int frags(void *context) { return 2; }
char terms[] SECTION("license") = "GPL";
EOF
clang -O2 -g -target bpf -c "$work/pass.c" -o "$work/pass.o"
ip link add here type veth peer name there
ip link set here up
ip link set there up

# Segmentation of TCP and UDP at an end of the pair.
offloads() {
    ethtool -k "$1" | sed -n 's/^\(tcp-segmentation-offload\|tx-udp-segmentation\): //p' | paste -sd,
}
both() {
    echo "$(offloads here) | $(offloads there)"
}
without=$(both)
ip link set dev here xdpdrv obj "$work/pass.o" sec xdp
plain=$(both)
ip link set dev here xdpdrv off
ip link set dev here xdpdrv obj "$work/pass.o" sec xdp.frags
frags=$(both)
ip link set dev here xdpdrv off
after=$(both)
printf '%-28s %s\n' "end with XDP | the other" "(TCP,UDP | TCP,UDP)" "no program" "$without" "xdp" "$plain" \
    "xdp.frags" "$frags" "no program any more" "$after"
lost="on,on | off,off [fixed]"
[ "$without; $plain; $frags; $after" = "on,on | on,on; $lost; $lost; on,on | on,on" ] ||
    { echo "this has changed" >&2; exit 1; }
