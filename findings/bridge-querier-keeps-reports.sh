#!/usr/bin/env bash
# A Linux bridge that is its own MLD Querier keeps Reports from a router that is silent.
#
# Versions   the bridge of the running kernel (printed), iproute2, python3
# Expected   A bridge that snoops is advised to have a Querier, and `mcast_querier 1` makes it one. So with it a router
#            behind a port was expected to hear the members at least as well as without it.
# Seen       Without it the bridge takes Reports for frames like others while it hears no Querier, and each port has
#            them. As soon as it asks itself, Reports go to those ports alone where a router was heard, so that one that
#            has only listened hears nothing more. `mcast_router 2` at its port brings the Reports back.
# Source     br_multicast_querier_exists() and br_multicast_flood() in net/bridge; RFC 4541 sections 2.1.1 and 3.
# Lesson     mcast_querier 0 where a router asks, or say which port leads to it.
set -euo pipefail
shopt -s inherit_errexit

for tool in ip bridge python3 unshare; do
    command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
[ -n "${IN_NAMESPACE-}" ] || IN_NAMESPACE=1 exec unshare --net --mount -- bash "$0"
mount -t sysfs sysfs /sys
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ip link set lo up
ip link add br0 type bridge mcast_snooping 1 mcast_querier 0 mcast_query_response_interval 100
for port in host router; do
    ip link add "$port" type veth peer name "${port}0"
    ip link set "${port}0" master br0
    ip link set "$port" up
    ip link set "${port}0" up
done
ip address add fe80::b/64 dev br0 nodad
ip link set br0 up
cat >"$work/reports.py" <<'P'
"""Sends MLDv1 Reports at one end until one arrives at the other, or none does in so many seconds."""
import socket, struct, sys, time

group = socket.inet_pton(socket.AF_INET6, "ff15::5eed")
source = socket.inet_pton(socket.AF_INET6, "fe80::c0de")
report = struct.pack("!BBHHH", 131, 0, 0, 0, 0) + group
pseudo = source + group + struct.pack("!II", len(report), 58) + report
total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
while total >> 16:
    total = (total & 0xFFFF) + (total >> 16)
report = report[:2] + struct.pack("!H", total ^ 0xFFFF) + report[4:]
alert = bytes([58, 0, 5, 2, 0, 0, 1, 0])
header = struct.pack("!IHBB", 6 << 28, len(alert) + len(report), 0, 1) + source + group
frame = bytes.fromhex("33330000 5eed 020000000001 86dd") + header + alert + report
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("host", 0))
into = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
into.bind(("router", 0))
into.settimeout(0.2)
wanted, most = sys.argv[1] == "arrives", float(sys.argv[2])
end, run = time.monotonic() + most, 0
# What is wanted has to be so for five Reports in a row: it may take a moment until it is.
while run < 5 and time.monotonic() < end:
    out.send(frame)
    try:
        while into.recv(2048)[-len(report):] != report:
            pass
        arrived = True
    except TimeoutError:
        arrived = False
    run = run + 1 if arrived == wanted else 0
print("arrive" if (run == 5) == wanted else "do not arrive")
P
ask() { python3 "$work/reports.py" "$1" 20; }
uname -r
ip -V
silent=$(ask arrives)
ip link set br0 type bridge mcast_querier 1
asks=$(ask stays)
bridge link set dev router0 mcast_router 2
told=$(ask arrives)
echo "nobody asks:                          Reports $silent"
echo "the bridge asks, mcast_querier 1:     Reports $asks"
echo "and mcast_router 2 at the port:       Reports $told"
[ "$silent, $asks, $told" = "arrive, do not arrive, arrive" ] || { echo "this has changed" >&2; exit 1; }
