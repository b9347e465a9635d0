#!/usr/bin/env bash
# A raw IPv6 socket that is given whole packets looks for their route without their source.
#
# Versions   the running kernel, iproute2 and python3 (printed)
# Expected   With IPV6_HDRINCL the source stands in the packet, so `ip -6 rule from SOURCE` was expected to decide about
#            it, as it does for a UDP socket that is bound to SOURCE, or for the same packet when it is forwarded.
# Seen       The rule has no effect: the packet leaves by the table that packets without a source use. With the
#            ancillary message IPV6_PKTINFO the rule decides; for a source that is no address of the host the socket
#            needs IPV6_FREEBIND. A raw IPv4 socket with IP_HDRINCL is the same, and has IP_PKTINFO.
# Source     rawv6_sendmsg() in net/ipv6/raw.c and raw_sendmsg() in net/ipv4/raw.c: the flow has the source of the
#            socket or of the ancillary message; RFC 3542 section 6.2.
# Lesson     Whoever answers for several addresses by one raw socket says the source twice.
set -euo pipefail
shopt -s inherit_errexit

for tool in ip python3 unshare; do
    command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
[ -n "${IN_NAMESPACE-}" ] || IN_NAMESPACE=1 exec unshare --net -- bash "$0"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uname -r
ip -V
python3 -V
ip link set lo up
ip link add here type veth peer name there
ip link set there up
ip link set here up
ip address add 2001:db8::1/64 dev here nodad
ip address add 2001:db8:5::1/128 dev lo
ip address add 192.0.2.1/24 dev here
ip address add 198.51.100.1/32 dev lo
ip -6 neighbor add 2001:db8::2 lladdr 02:00:00:00:00:02 dev here
ip neighbor add 192.0.2.2 lladdr 02:00:00:00:00:02 dev here
# What comes from these sources goes nowhere.
ip -6 rule add from 2001:db8:5::/48 lookup 100
ip -6 route add unreachable default table 100
ip rule add from 198.51.100.0/24 lookup 100
ip route add unreachable default table 100
cat >"$work/send.py" <<'P'
"""Sends to a neighbour from a source, and says whether the kernel had a way."""
import socket, struct, sys

IPV6_HDRINCL, IPV6_FREEBIND, IP_PKTINFO = 36, 78, 8
how, source, target = sys.argv[1:]
six = ":" in source
family = socket.AF_INET6 if six else socket.AF_INET
octets, to = (socket.inet_pton(family, text) for text in (source, target))
if how == "udp":
    out = socket.socket(family, socket.SOCK_DGRAM)
    out.bind((source, 0))
    message, ancillary, port = b"8 octets", [], 9
else:
    out = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    port = 0
    if six:
        out.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        out.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        message = struct.pack("!IHBB", 6 << 28, 8, 59, 64) + octets + to + bytes(8)
        said = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, octets + struct.pack("@I", 0))
    else:
        message = struct.pack("!BBHIBBH", 0x45, 0, 28, 0, 64, 253, 0) + octets + to + bytes(8)
        said = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("@I", 0) + octets + bytes(4))
    ancillary = [said] if how == "told" else []
try:
    out.sendmsg([message], ancillary, 0, (target, port))
    print("sent")
except OSError as error:
    print("refused" if error.errno in (101, 113) else error)
P
failed=0
for pair in "2001:db8:5::1 2001:db8::2" "2001:db8:5::77 2001:db8::2" "198.51.100.1 192.0.2.2"; do
    read -r source target <<<"$pair"
    udp=-
    [ "$source" = 2001:db8:5::77 ] || udp=$(python3 "$work/send.py" udp "$source" "$target")
    raw=$(python3 "$work/send.py" raw "$source" "$target")
    told=$(python3 "$work/send.py" told "$source" "$target")
    echo "from $source: UDP $udp, raw $raw, raw with PKTINFO $told"
    case "$udp $raw $told" in "refused sent refused" | "- sent refused") ;; *) failed=1 ;; esac
done
[ "$failed" = 0 ] || { echo "this has changed" >&2; exit 1; }
