"""The other end of return routability: a member or a correspondent that behaves, or misbehaves,
as it is told.

Commands come as JSON lines on the standard input: {"do": NAME, ...}. Each packet and the end of
each command is a JSON line on the standard output. Messages go out and come in as whole packets,
past the kernel's own IPv6, so that nothing puts them right.
"""

import argparse
import json
import os
import select
import socket
import struct
import sys
import time

import wire

# No answer takes this long on links that are made of memory.
PATIENCE = 10.0
ETH_P_IPV6 = 0x86DD


class Link:
    """The interface that packets leave and enter by."""

    def __init__(self, interface):
        self.sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        protocol = socket.htons(ETH_P_IPV6)
        self.receiver = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, protocol)
        self.receiver.bind((interface, ETH_P_IPV6))
        # As long as somebody listens to protocol 135, the kernel does not refuse it.
        self.listener = socket.socket(socket.AF_INET6, socket.SOCK_RAW, wire.MOBILITY)

    def send(self, packet):
        """Sends a packet that begins with its IPv6 header."""
        self.sender.sendto(packet, (wire.text(packet[24:40]), 0))

    def receive(self):
        """A packet about mobility, or None when the next one is about something else."""
        return wire.parse(self.receiver.recv(2048))


class Peer:
    """What both roles do: obey, send, and tell."""

    def __init__(self, link, home, care_of):
        self.link, self.home, self.care_of = link, home, care_of
        self.last = b""

    def log(self, step, **fields):
        """Tells the one who listens."""
        print(json.dumps({"step": step, "at": time.monotonic(), **fields}), flush=True)

    def send(self, kind, packet, **fields):
        """Sends, and remembers what was sent for the quote of an error."""
        self.last = packet
        source, destination = wire.text(packet[8:24]), wire.text(packet[24:40])
        self.log("sent", type=kind, source=source, destination=destination, **fields)
        self.link.send(packet)

    def heard(self, message):
        """A message came."""
        raise NotImplementedError

    def run(self):
        """Obeys until the standard input ends."""
        self.log("ready")
        pending = b""
        while True:
            readable, _, _ = select.select([0, self.link.receiver], [], [])
            if self.link.receiver in readable and (message := self.link.receive()):
                self.heard(message)
            if 0 not in readable:
                continue
            said = os.read(0, 65536)
            if not said:
                return
            *lines, pending = (pending + said).split(b"\n")
            for line in lines:
                command = json.loads(line)
                result = getattr(self, "do_" + command.pop("do"))(**command)
                self.log("done", **(result or {}))


class Member(Peer):
    """Asks for bindings (RFC 6275 sections 11.6 and 11.7, draft anycast-rr)."""

    def __init__(self, link, home, care_of, fence):
        super().__init__(link, home, care_of)
        self.fence = fence
        self.received = []
        # By client: ((home index, home token), (care-of index, care-of token)).
        self.tests = {}
        # By client: what the acknowledgement of its last update is to be signed with.
        self.keys = {}

    def heard(self, message):
        report = {key: value for key, value in message.items() if not isinstance(value, bytes)}
        if message["type"] == "BA":
            report["signed"] = wire.is_signed(message, *self.keys[message["source"]])
        elif message["type"] == "PP":
            # As it was sent, but for the hop limit.
            quote, sent = message["quote"], self.last[: 1280 - 48]
            report["quotes"] = (quote[:7], quote[8:]) == (sent[:7], sent[8:])
        self.received.append(report)
        self.log("received", **report)

    def wait(self, wanted):
        """Receives until `wanted` has what it wants, and gives that message."""
        deadline = time.monotonic() + PATIENCE
        while True:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.link.receiver], [], [], max(left, 0))
            if not readable:
                raise TimeoutError(f"nothing came; received: {self.received}")
            message = self.link.receive()
            if message and wanted(message):
                return message
            if message:
                self.heard(message)

    def init(self, kind, source, client, padding=0):
        """Sends a Home or Care-of Test Init, and gives a test of its answer (section 11.6.2)."""
        cookie = os.urandom(8)
        header = wire.mobility_header(wire.TYPES[kind], bytes(2) + cookie)
        self.send(kind, wire.mobility(source, client, header, padding=padding))
        return lambda message: (
            message["type"] == kind[:2] + "T"
            and "fault" not in message
            and (message["source"], message["destination"]) == (client, source)
            and message["cookie"] == cookie
        )

    def settle(self):
        """Everything sent so far has been dealt with when a Home Test Init that comes after it is
        answered by the controller, to which the programs leave one with Destination Options. Gives
        what was received until then."""
        about = self.last
        settled = self.init("HoTI", self.home, self.fence, padding=1)
        self.last = about
        self.wait(settled)
        received, self.received = self.received, []
        return {"received": received}

    def do_test(self, client, home=None, care_of=None):
        """Both tests (section 11.6.1)."""
        home_test = self.init("HoTI", home or self.home, client)
        care_of_test = self.init("CoTI", care_of or self.care_of, client)
        found = {}
        while len(found) < 2:
            message = self.wait(lambda message: home_test(message) or care_of_test(message))
            found[message["type"]] = (message["index"], message["token"])
            self.log("received", type=message["type"], index=message["index"])
        self.tests[client] = (found["HoT"], found["CoT"])
        return self.settle()

    def do_update(
        self,
        client,
        sequence,
        home=None,
        care_of=None,
        lifetime=1,
        flags="AE",
        shift=(0, 0),
        layout=None,
        sign="right",
        reserved=0,
        spoil=0,
        home_address=None,
    ):
        """A Binding Update (section 6.1.7). Its authenticator is made as `sign` says; the nonce
        indices are `shift` away from those of the tests."""
        home, care_of = home or self.home, care_of or self.care_of
        (home_index, home_token), (care_of_index, care_of_token) = self.tests[client]
        deletes = (lifetime == 0) != (sign == "as if the other")
        key = wire.kbm(home_token) if deletes else wire.kbm(home_token, care_of_token)
        covered = home if deletes or sign == "over the home address" else care_of
        indices = [(home_index + shift[0]) % 65536, (care_of_index + shift[1]) % 65536]
        without = ["indices", "authorization"]
        layout = layout or (without if lifetime == 0 else ["alternate", *without])
        options = self.options(layout, care_of, indices)
        body = struct.pack(">HHH", sequence, sum(map(wire.FLAGS.get, flags)) | reserved, lifetime)
        header = wire.mobility_header(wire.TYPES["BU"], body + options.finish(), reserved=reserved)
        if (place := options.authenticator) is not None:
            header = wire.seal(header, place, key, covered, client, spoil=sign == "wrong")
        self.keys[client] = (key, covered, client)
        source = care_of if home_address else home
        packet = wire.mobility(source, client, header, home_address=home_address, spoil=spoil)
        self.send("BU", packet, sequence=sequence, lifetime=lifetime, indices=indices)
        return self.settle()

    @staticmethod
    def options(layout, care_of, indices):
        """The options of a Binding Update, in this order."""
        options = wire.Options(12)
        for option in layout:
            match option.split(":"):
                case ["alternate"]:
                    options.put(wire.ALTERNATE, wire.packed(care_of))
                case ["indices"]:
                    options.put(wire.INDICES, struct.pack(">HH", *indices))
                case ["authorization"]:
                    options.put(wire.AUTHORIZATION, bytes(wire.AUTHENTICATOR))
                case ["unknown"]:
                    # What it holds looks like an option too.
                    options.put(wire.UNKNOWN, bytes([wire.AUTHORIZATION, wire.AUTHENTICATOR]))
                case ["advice"]:
                    options.put(wire.ADVICE, b"\x00\x01")
                case ["short", length]:
                    options.put(wire.AUTHORIZATION, bytes(int(length)))
                    options.authenticator = None
                case ["pad", length]:
                    options.pad(int(length))
        return options

    def do_message(
        self,
        client,
        kind,
        body=10,
        units=None,
        payload_proto=wire.NO_NEXT,
        home_address=None,
        padding=0,
        spoil=0,
    ):
        """A message of any type with `body` octets after the checksum, well formed or not."""
        number = wire.TYPES.get(kind, kind)
        octets = bytes(2) + os.urandom(body - 2)
        header = wire.mobility_header(number, octets, payload_proto, units)
        source = self.care_of if kind == "CoTI" else self.home
        packet = wire.mobility(source, client, header, home_address, padding, spoil)
        self.send(kind, packet)
        return self.settle()


class Correspondent(Peer):
    """Answers for clients (RFC 6275 sections 9.4 and 9.5), each as its plan says."""

    # "The home and care-of nonce indices MAY be the same, or different" (section 5.2.5).
    HOME_INDEX, CARE_OF_INDEX = 7, 65535

    def __init__(self, link, home, care_of):
        super().__init__(link, home, care_of)
        self.kcn = os.urandom(20)
        self.nonces = {index: os.urandom(8) for index in (self.HOME_INDEX, self.CARE_OF_INDEX)}
        self.plans = {}
        # By client and type: a test that is still to be sent.
        self.held = {}
        self.keys = {}

    def heard(self, message):
        client, kind = message["destination"], message["type"]
        plan = self.plans.get(client)
        if plan is None:
            return
        report = {key: value for key, value in message.items() if not isinstance(value, bytes)}
        if kind == "BU":
            report.update(self.judge(client, message))
        self.log("received", **report)
        todo = plan.get(kind) or []
        for action in todo.pop(0) if todo else ["answer"]:
            self.act(client, message, action)

    def judge(self, client, update):
        """The tests of section 9.5.1 that need no cache."""
        indices, care_of = update.get("indices"), update.get("care_of")
        if indices != [self.HOME_INDEX, self.CARE_OF_INDEX] and update["lifetime"]:
            return {"signed": "with other nonces"}
        home_token = wire.home_keygen_token(self.kcn, self.nonces[indices[0]], update["source"])
        if update["lifetime"]:
            nonce = self.nonces[indices[1]]
            key = wire.kbm(home_token, wire.care_of_keygen_token(self.kcn, nonce, care_of))
        else:
            key, care_of = wire.kbm(home_token), update["source"]
        self.keys[client] = (key, care_of)
        return {"signed": wire.is_signed(update, key, care_of, client)}

    def act(self, client, message, action):
        """One answer to a message, or what is done instead."""
        kind, origin = message["type"], message["source"]
        word = action if isinstance(action, str) else "acknowledge"
        if word == "lose" or kind not in ("HoTI", "CoTI", "BU"):
            return
        if word.startswith("PP"):
            body = struct.pack(">I", 6) + message["packet"]
            code = int(word[2:])
            self.send(word, wire.icmpv6(client, origin, 4, code, body))
        elif word.startswith("BE"):
            self.binding_error(client, origin, int(word[2:]))
        elif kind == "BU":
            self.acknowledge(client, message, {} if word == "answer" else action)
        else:
            self.test(client, message, word)

    def test(self, client, message, word):
        """A Home or Care-of Test (sections 9.4.3 and 9.4.4)."""
        origin, cookie = message["source"], message["cookie"]
        if message["type"] == "HoTI":
            kind, index = "HoT", self.HOME_INDEX
            token = wire.home_keygen_token(self.kcn, self.nonces[index], origin)
        else:
            kind, index = "CoT", self.CARE_OF_INDEX
            token = wire.care_of_keygen_token(self.kcn, self.nonces[index], origin)
        if word == "wrong cookie":
            cookie = bytes([cookie[0] ^ 1]) + cookie[1:]
        if word == "to the other address":
            origin = self.care_of if origin == self.home else self.home
        body = struct.pack(">H", index) + cookie + token
        packet = wire.mobility(client, origin, wire.mobility_header(wire.TYPES[kind], body))
        if word == "hold":
            self.held[client, kind] = packet
            return
        if late := self.held.pop((client, kind), None):
            self.send("late " + kind, late)
        self.send(kind, packet, index=index)

    def acknowledge(self, client, update, wish):
        """A Binding Acknowledgement (sections 6.1.8 and 9.5.4)."""
        status = wish.get("status", 0)
        if status == 0 and "A" not in update["flags"]:
            return
        sequence = (update["sequence"] + wish.get("ahead", 0)) % 65536
        body = struct.pack(">BBHH", status, 0, sequence, wish.get("lifetime", 1))
        options = wire.Options(12)
        if wish.get("odd"):
            options.put(wire.UNKNOWN, b"odd")
            options.pad(1)
            options.put(wire.ADVICE, b"\x00\x01")
        sign = wish.get("sign", "absent" if status in (136, 137, 138) else "right")
        if sign != "absent":
            options.put(wire.AUTHORIZATION, bytes(wire.AUTHENTICATOR))
        if wish.get("trailing"):
            options.pad(8)
        header = wire.mobility_header(wire.TYPES["BA"], body + options.finish())
        if (place := options.authenticator) is not None:
            key, care_of = self.keys[client]
            header = wire.seal(header, place, key, care_of, client, spoil=sign == "wrong")
        packet = wire.mobility(client, update["source"], header)
        self.send("BA", packet, status=status, sequence=sequence, signed=sign)

    def binding_error(self, client, destination, status):
        """Section 6.1.9."""
        header = wire.mobility_header(wire.TYPES["BE"], struct.pack(">BB", status, 0) + bytes(16))
        self.send("BE", wire.mobility(client, destination, header), status=status)

    def do_plan(self, client, **plan):
        """How to answer the client's HoTI, CoTI and BU: for each transmission a list of actions;
        what is not planned is answered as it should be."""
        self.plans[client] = plan

    def do_knock(self, client):
        """A packet of the client, which is what a handshake begins with."""
        self.send("knock", wire.udp(client, self.home, (4000, 7777), b"knock"))

    def do_refresh(self, client):
        """A Binding Refresh Request (section 6.1.2)."""
        header = wire.mobility_header(wire.TYPES["BRR"], bytes(2))
        self.send("BRR", wire.mobility(client, self.home, header))

    def do_error(self, client, status):
        """A Binding Error that nothing has called for."""
        self.binding_error(client, self.home, status)

    def do_echo(self, client):
        """An Echo Request by the care-of address, as a bound flow goes."""
        body = struct.pack(">HH", 1, 1) + b"echo"
        self.send("echo", wire.icmpv6(client, self.care_of, 128, 0, body))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["member", "correspondent"])
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--home", required=True, help="the anycast address, B")
    parser.add_argument("--care-of", required=True, help="the unicast address, C")
    parser.add_argument("--fence", help="member: a client that no command names")
    arguments = parser.parse_args()
    link = Link(arguments.interface)
    if arguments.role == "member":
        peer = Member(link, arguments.home, arguments.care_of, arguments.fence)
    else:
        peer = Correspondent(link, arguments.home, arguments.care_of)
    peer.run()


if __name__ == "__main__":
    sys.exit(main())
