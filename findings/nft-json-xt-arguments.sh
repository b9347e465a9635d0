#!/usr/bin/env bash
# nft's JSON leaves out what a match of iptables-nft asks for.
#
# Versions   nftables 1.0.6-2+deb12u2, iptables 1.8.9-2 (Debian 12), libnftnl 1.2.4-2
# Expected   `nft -j list ruleset` is what programs are to read, so it was expected to say at least as much as the text
#            that people read: which mobility messages a rule drops.
# Seen       For two rules by ip6tables-nft, which drop a Home Test Init (`-m mh --mh-type 1`) and a Binding Update
#            (`--mh-type 5`), the text has `mh type 1` and `mh type 5`; the JSON has the same for both, a match of
#            kind "xt" with its name and without its arguments. A reader cannot tell them, nor a rule for one message
#            from one for all.
# Source     libnftables-json(5), section XT; xt_stmt_xlate() and xt_stmt_json() in nftables.
# Lesson     Ask `ip6tables-nft-save` about rules in which "xt" stands.
set -euo pipefail
shopt -s inherit_errexit

for tool in apt-get dpkg-deb python3 unshare; do
    command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq -o APT::Sandbox::User=root nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 \
    iptables=1.8.9-2 libxtables12=1.8.9-2 libip6tc2=1.8.9-2 libip4tc2=1.8.9-2 libnftnl11=1.2.4-2 \
    libmnl0=1.0.4-3 libjansson4=2.14-2
for package in *.deb; do dpkg-deb -x "$package" tree; done
libraries=$work/tree/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
export LD_LIBRARY_PATH=$libraries XTABLES_LIBDIR=$libraries/xtables
cat >rules.sh <<'R'
set -euo pipefail
for type in 1 5; do
    tree/usr/sbin/xtables-nft-multi ip6tables -A INPUT -p mobility-header -m mh --mh-type "$type" -j DROP
done
tree/usr/sbin/xtables-nft-multi ip6tables-save | grep -- '-m mh' >saved
tree/usr/sbin/nft list ruleset | grep 'drop$' >text
tree/usr/sbin/nft -j list ruleset >json
R
unshare --net bash rules.sh
tree/usr/sbin/nft --version
tree/usr/sbin/xtables-nft-multi ip6tables --version
python3 - <<'P'
import json

rules = [row["rule"]["expr"] for row in json.load(open("json"))["nftables"] if "rule" in row]
told = [[part for part in rule if "counter" not in part] for rule in rules]
text = open("text").read().split("\n")[:2]
for line in open("saved").read().split("\n")[:2] + text:
    print(line.strip())
print("JSON of the first:  ", json.dumps(told[0]))
print("JSON of the second: ", json.dumps(told[1]))
same = len(told) == 2 and told[0] == told[1] and {"xt": {"type": "match", "name": "mh"}} in told[0]
differs = "mh type 1" in text[0] and "mh type 5" in text[1]
raise SystemExit(0 if same and differs else "this has changed")
P
