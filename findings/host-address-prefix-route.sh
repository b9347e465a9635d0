#!/usr/bin/env bash
# A /128 on lo has a route in the main table besides the one in table local, which a /32 has not.
#
# Versions   the running kernel and iproute2 (printed)
# Expected   An address of a whole prefix length has no on-link prefix, so it was expected to have its route in table
#            local alone, as in IPv4. A route to the same address by another host in the main table, as a routing daemon
#            learns it for an anycast address, was expected to be used once the one in table local is taken away.
# Seen       IPv6 makes a "prefix route" of the /128 as well: `dev lo proto kernel metric 256` in the main table. It is
#            preferred to the other one, whose metric is 1024 by default, so packets stay on lo. With `noprefixroute`
#            the route by the other host is used. IPv4 makes no such route for a /32.
# Source     addrconf_prefix_route() in net/ipv6/addrconf.c, with IP6_RT_PRIO_ADDRCONF (256), for any length;
#            fib_add_ifaddr() in net/ipv4/fib_frontend.c leaves out prefixes of 32 bits. ip-address(8), noprefixroute.
# Lesson     Whoever sends on what is assigned to lo has two routes to take away, or adds the address with
#            noprefixroute.
set -euo pipefail
shopt -s inherit_errexit

for tool in ip unshare; do
    command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
[ -n "${IN_NAMESPACE-}" ] || IN_NAMESPACE=1 exec unshare --net -- bash "$0"
uname -r
ip -V
ip link set lo up
ip link add here type veth peer name there
ip link set there up
ip address add 192.0.2.1/24 dev here
ip address add fe80::1/64 dev here nodad
ip link set here up

# By which interface packets to the address go, when table local does not have it. The other host has its own route.
way() {
    local family=$1 address=$2 length=$3 flags=$4 by=$5
    ip "-$family" address add "$address/$length" dev lo $flags
    ip "-$family" route add "$address/$length" via "$by" dev here
    ip "-$family" route del local "$address" dev lo table local
    ip "-$family" route get "$address" | grep -o 'dev [a-z]*' | head -n 1
    ip "-$family" route del "$address/$length" via "$by" dev here
    ip "-$family" address del "$address/$length" dev lo
}
six=$(way 6 2001:db8::53 128 "" fe80::2)
quiet=$(way 6 2001:db8::53 128 noprefixroute fe80::2)
four=$(way 4 198.51.100.53 32 "" 192.0.2.2)
echo "IPv6, /128 on lo:                 $six"
echo "IPv6, the same, noprefixroute:    $quiet"
echo "IPv4, /32 on lo:                  $four"
[ "$six, $quiet, $four" = "dev lo, dev here, dev here" ] || { echo "this has changed" >&2; exit 1; }
