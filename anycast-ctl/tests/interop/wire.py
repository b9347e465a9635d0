"""Mobility messages as octets, and the formulae of return routability.

Written from RFC 6275 and the two drafts alone: it shares no line with what it is tried against.
"""

import hashlib
import hmac
import ipaddress
import struct

ICMPV6, NO_NEXT, DESTINATION_OPTIONS, ROUTING, MOBILITY, UDP = 58, 59, 60, 43, 135, 17

# MH Types (RFC 6275 sections 6.1.2 to 6.1.9).
TYPES = {"BRR": 0, "HoTI": 1, "CoTI": 2, "HoT": 3, "CoT": 4, "BU": 5, "BA": 6, "BE": 7}
NAMES = {number: name for name, number in TYPES.items()}

# Flags of a Binding Update (section 6.1.7); E is the draft's, where RFC 6275 has a reserved bit.
FLAGS = {"A": 0x8000, "H": 0x4000, "S": 0x2000, "D": 0x1000, "L": 0x0800, "E": 0x0400}

# Mobility options (section 6.2).
PAD1, PADN, ADVICE, ALTERNATE, INDICES, AUTHORIZATION, UNKNOWN = 0, 1, 2, 3, 4, 5, 200
# Where an option wants to begin: at `multiple * n + rest` (sections 6.2.4 to 6.2.7).
ALIGNMENT = {ADVICE: (2, 0), ALTERNATE: (8, 6), INDICES: (2, 0), AUTHORIZATION: (8, 2)}
AUTHENTICATOR = 12


def packed(address):
    """The 16 octets of an address."""
    return ipaddress.IPv6Address(address).packed


def text(octets):
    """16 octets as an address."""
    return str(ipaddress.IPv6Address(octets))


# Formulae


def home_keygen_token(kcn, nonce, home):
    """Section 5.2.5: First (64, HMAC_SHA1 (Kcn, (home address | nonce | 0))). Members cannot tell what a
    correspondent makes its tokens of, so this is the plain formula; the gateway under test adds the client."""
    return hmac.new(kcn, packed(home) + nonce + b"\x00", hashlib.sha1).digest()[:8]


def care_of_keygen_token(kcn, nonce, care_of):
    """Section 5.2.5: First (64, HMAC_SHA1 (Kcn, (care-of address | nonce | 1))), likewise."""
    return hmac.new(kcn, packed(care_of) + nonce + b"\x01", hashlib.sha1).digest()[:8]


def kbm(home_token, care_of_token=b""):
    """Section 5.2.5: the SHA-1 of both tokens, of the home token alone for a deletion."""
    return hashlib.sha1(home_token + care_of_token).digest()


def authenticator(key, care_of, correspondent, header, place):
    """Section 6.2.7: First (96, HMAC_SHA1 (Kbm, care-of address | correspondent | MH Data)), where
    MH Data has a checksum of zero and lacks the authenticator, which begins at `place`."""
    data = header[:4] + b"\x00\x00" + header[6:place] + header[place + AUTHENTICATOR :]
    signed = packed(care_of) + packed(correspondent) + data
    return hmac.new(key, signed, hashlib.sha1).digest()[:AUTHENTICATOR]


def seal(header, place, key, care_of, correspondent, spoil=False):
    """The header with its authenticator, or with one that is wrong in a bit."""
    signature = authenticator(key, care_of, correspondent, header, place)
    if spoil:
        signature = bytes([signature[0] ^ 1]) + signature[1:]
    return header[:place] + signature + header[place + AUTHENTICATOR :]


def checksum(source, destination, protocol, data):
    """RFC 8200 section 8.1, as RFC 6275 section 6.1.1 uses it."""
    pseudo = packed(source) + packed(destination) + struct.pack(">IxxxB", len(data), protocol)
    octets = pseudo + data + b"\x00" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


# Writing


class Options:
    """The options of a message whose fixed part has `start` octets. Remembers where the
    authenticator goes."""

    def __init__(self, start):
        self.start, self.octets, self.authenticator = start, b"", None

    def put(self, option, data):
        """Adds an option where its alignment wants it."""
        multiple, rest = ALIGNMENT.get(option, (1, 0))
        self.pad((rest - self.start - len(self.octets)) % multiple)
        if option == AUTHORIZATION:
            self.authenticator = self.start + len(self.octets) + 2
        self.octets += bytes([option, len(data)]) + data

    def pad(self, length):
        """Adds padding of exactly this length (sections 6.2.2 and 6.2.3)."""
        if length == 1:
            self.octets += bytes([PAD1])
        elif length:
            self.octets += bytes([PADN, length - 2]) + b"\x00" * (length - 2)

    def finish(self):
        """Pads to a whole number of 8 octets."""
        self.pad(-(self.start + len(self.octets)) % 8)
        return self.octets


def mobility_header(kind, body, payload_proto=NO_NEXT, units=None, reserved=0):
    """Section 6.1.1, its checksum still zero. `units` overrides Header Len."""
    length = (6 + len(body)) // 8 - 1 if units is None else units
    return struct.pack(">BBBBH", payload_proto, length, kind, reserved, 0) + body


def mobility(source, destination, header, home_address=None, padding=0, spoil=0):
    """A packet with this Mobility Header. A Home Address option (section 6.3) makes its address the
    source that the checksum covers. `padding` puts as many times 8 octets of Destination Options
    in front; `spoil` is added to the checksum."""
    summed = checksum(home_address or source, destination, MOBILITY, header)
    header = header[:4] + struct.pack(">H", summed ^ spoil) + header[6:]
    if home_address:
        option = bytes([PADN, 2, 0, 0, 0xC9, 16]) + packed(home_address)
        return ipv6(source, destination, DESTINATION_OPTIONS, bytes([MOBILITY, 2]) + option + header)
    if padding:
        filler = bytes([PADN, padding * 8 - 4]) + b"\x00" * (padding * 8 - 4)
        front = bytes([MOBILITY, padding - 1]) + filler
        return ipv6(source, destination, DESTINATION_OPTIONS, front + header)
    return ipv6(source, destination, MOBILITY, header)


def icmpv6(source, destination, kind, code, body):
    """RFC 4443 section 2.1."""
    message = bytes([kind, code, 0, 0]) + body
    summed = checksum(source, destination, ICMPV6, message)
    return ipv6(source, destination, ICMPV6, message[:2] + struct.pack(">H", summed) + message[4:])


def udp(source, destination, ports, data):
    """RFC 768."""
    message = struct.pack(">HHHH", *ports, 8 + len(data), 0) + data
    summed = checksum(source, destination, UDP, message) or 0xFFFF
    return ipv6(source, destination, UDP, message[:6] + struct.pack(">H", summed) + message[8:])


def ipv6(source, destination, protocol, payload):
    """RFC 8200 section 3."""
    fixed = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    return fixed + packed(source) + packed(destination) + payload


# Reading


def parse(octets):
    """A packet as a dictionary of what matters here. None when it is not about mobility."""
    length, protocol = struct.unpack(">HB", octets[4:7])
    found = {"source": text(octets[8:24]), "destination": text(octets[24:40]), "packet": octets}
    payload = octets[40 : 40 + length]
    while protocol in (DESTINATION_OPTIONS, ROUTING):
        found["extension_header"] = protocol
        following = (payload[1] + 1) * 8
        protocol, payload = payload[0], payload[following:]
    if protocol not in (MOBILITY, ICMPV6):
        return None
    if checksum(found["source"], found["destination"], protocol, payload):
        return {**found, "type": "damaged"}
    read = parse_mobility if protocol == MOBILITY else parse_icmpv6
    message = read(payload)
    return message and {**found, **message}


def parse_icmpv6(message):
    """Errors (RFC 4443 section 3) and Echo Replies (section 4.2)."""
    kind, code = message[:2]
    if kind == 4:
        pointer = struct.unpack(">I", message[4:8])[0]
        return {"type": "PP", "code": code, "pointer": pointer, "quote": message[8:]}
    return {"type": "echo"} if kind == 129 else None


def parse_mobility(header):
    """Section 6.1. What the RFC forbids to a sender is told as `fault`."""
    found = {"type": NAMES.get(header[2], header[2]), "header": header}
    if header[0] != NO_NEXT or header[3] or (header[1] + 1) * 8 != len(header):
        found["fault"] = "payload proto, reserved field or header length"
    body = header[6:]
    match found["type"]:
        case "HoTI" | "CoTI":
            fixed, found["cookie"] = 10, body[2:10]
        case "HoT" | "CoT":
            fixed, found["index"] = 18, struct.unpack(">H", body[:2])[0]
            found["cookie"], found["token"] = body[2:10], body[10:18]
        case "BU":
            found["sequence"], flags, found["lifetime"] = struct.unpack(">HHH", body[:6])
            fixed, found["flags"] = 6, "".join(name for name, bit in FLAGS.items() if flags & bit)
            if flags & 0x03FF:
                found["fault"] = "reserved flags"
        case "BA":
            found["status"], flags, found["sequence"], found["lifetime"] = struct.unpack(
                ">BBHH", body[:6]
            )
            fixed = 6
            if flags:
                found["fault"] = "K or reserved flags"
        case "BE":
            found["status"], found["home_address"] = body[0], text(body[2:18])
            fixed = 18
        case _:
            fixed = 2
    parse_options(header, 6 + fixed, found)
    return found


def parse_options(header, place, found):
    """Section 6.2, and the alignments which it asks of senders."""
    while place < len(header):
        option = header[place]
        if found.get("authenticator") is not None:
            found["fault"] = "something follows the authorization data"
        if option == PAD1:
            place += 1
            continue
        length = header[place + 1]
        data = header[place + 2 : place + 2 + length]
        multiple, rest = ALIGNMENT.get(option, (1, 0))
        if len(data) != length or place % multiple != rest:
            found["fault"] = f"length or alignment of option {option}"
        if option == ALTERNATE:
            found["care_of"] = text(data)
        elif option == INDICES:
            found["indices"] = list(struct.unpack(">HH", data))
        elif option == AUTHORIZATION:
            found["authenticator"], found["place"] = data, place + 2
        place += 2 + length


def is_signed(message, key, care_of, correspondent):
    """What is to be thought of the authenticator of a Binding Update or Acknowledgement."""
    found = message.get("authenticator")
    if found is None:
        return "absent"
    right = authenticator(key, care_of, correspondent, message["header"], message["place"])
    return "right" if hmac.compare_digest(found, right) else "wrong"
