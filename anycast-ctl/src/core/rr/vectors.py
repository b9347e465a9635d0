#!/usr/bin/env python3
"""Makes vectors.json, the test vectors of the return routability formulae.

    python3 vectors.py > vectors.json

Written from RFC 6275 sections 5.2.5, 6.1 and 6.2 with Python's own hmac and hashlib, and from
nothing else: neither the code under test nor its packet encoder had a part in it. `openssl` gives
the same, for example for the first home keygen token:

    printf '<home><nonce>00<correspondent>' | xxd -r -p | openssl dgst -sha1 -mac HMAC -macopt hexkey:<kcn>
"""

import hashlib
import hmac
import ipaddress
import json
import struct


def octets(text):
    return ipaddress.IPv6Address(text).packed


def token(kcn, address, nonce, kind, client):
    """RFC 6275 section 5.2.5, with the client at the end (docs/protocol.md)."""
    covered = octets(address) + nonce + bytes([kind]) + octets(client)
    return hmac.new(kcn, covered, hashlib.sha1).digest()[:8]


def checksum(source, destination, message):
    """RFC 6275 section 6.1.1: the pseudo-header of RFC 8200 section 8.1, next header 135."""
    data = octets(source) + octets(destination) + struct.pack("!II", len(message), 135) + message
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mobility_header(mh_type, body):
    """Payload Proto 59, Header Len in units of 8 octets without the first, checksum zero."""
    length = 6 + len(body)
    assert length % 8 == 0, length
    return struct.pack("!BBBBH", 59, length // 8 - 1, mh_type, 0, 0) + body


def sealed(kbm, care_of, correspondent, source, destination, mh_type, body):
    """A message that ends in Binding Authorization Data, as a complete IPv6 packet."""
    unsigned = mobility_header(mh_type, body + bytes(12))[:-12]
    authenticator = hmac.new(
        kbm, octets(care_of) + octets(correspondent) + unsigned, hashlib.sha1
    ).digest()[:12]
    message = unsigned + authenticator
    check = checksum(source, destination, message)
    message = message[:4] + struct.pack("!H", check) + message[6:]
    header = struct.pack("!IHBB", 6 << 28, len(message), 135, 64)
    return authenticator, header + octets(source) + octets(destination) + message


def authorization(body):
    """Binding Authorization Data: type 5, last, aligned at 8n + 2; Pad1 or PadN before it."""
    pad = (2 - (6 + len(body))) % 8
    if pad == 1:
        body += bytes([0])
    elif pad > 1:
        body += bytes([1, pad - 2]) + bytes(pad - 2)
    return body + bytes([5, 12])


def binding_update(flags, sequence, lifetime, care_of, home_index, care_of_index):
    body = struct.pack("!HHH", sequence, flags, lifetime)
    if care_of:
        # Alternate Care-of Address: type 3, aligned at 8n + 6; 12 octets stand before it, so PadN of 2.
        body += bytes([1, 0]) + bytes([3, 16]) + octets(care_of)
    # Nonce Indices: type 4, aligned at 2n.
    body += struct.pack("!BBHH", 4, 4, home_index, care_of_index)
    return authorization(body)


def binding_ack(status, sequence, lifetime):
    body = struct.pack("!BBHH", status, 0, sequence, lifetime)
    return authorization(body)


def exchange(name, seed, home, care_of, correspondent, indices, sequence):
    """One exchange. The secrets are any octets; a hash of the seed serves."""
    stream = hashlib.sha512(seed.encode()).digest()
    kcn_home, kcn_care_of = stream[0:20], stream[20:40]
    nonce_home, nonce_care_of = stream[40:48], stream[48:56]
    home_token = token(kcn_home, home, nonce_home, 0, correspondent)
    care_of_token = token(kcn_care_of, care_of, nonce_care_of, 1, correspondent)
    kbm = hashlib.sha1(home_token + care_of_token).digest()
    kbm_deletion = hashlib.sha1(home_token).digest()
    a_and_e = 0x8000 | 0x0400
    messages = {
        "update": sealed(
            kbm, care_of, correspondent, home, correspondent, 5,
            binding_update(a_and_e, sequence, 1, care_of, *indices)),
        "ack": sealed(
            kbm, care_of, correspondent, correspondent, home, 6,
            binding_ack(0, sequence, 1)),
        # RFC 6275 section 6.2.7: in de-registration the home address stands for the care-of address.
        "deletion": sealed(
            kbm_deletion, home, correspondent, home, correspondent, 5,
            binding_update(a_and_e, (sequence + 1) % 65536, 0, None, indices[0], 0)),
    }
    return {
        "name": name,
        "home": home, "care_of": care_of, "correspondent": correspondent,
        "sequence": sequence, "home_index": indices[0], "care_of_index": indices[1],
        "kcn_home": kcn_home.hex(), "kcn_care_of": kcn_care_of.hex(),
        "nonce_home": nonce_home.hex(), "nonce_care_of": nonce_care_of.hex(),
        "home_token": home_token.hex(), "care_of_token": care_of_token.hex(),
        "kbm": kbm.hex(), "kbm_deletion": kbm_deletion.hex(),
        **{key: {"authenticator": mac.hex(), "packet": packet.hex()}
           for key, (mac, packet) in messages.items()},
    }


print(json.dumps([
    exchange("documentation addresses", "one", "2001:db8:b::1", "2001:db8:c::53",
             "2001:db8:a::7", (1, 1), 0x1234),
    exchange("two nonces, indices around the wrap", "two", "2001:db8:ffff::53",
             "fd00:0:0:1:0202:02ff:fe02:0202", "2001:db8:0:5::8d2", (65535, 0), 65535),
    exchange("all-ones octets", "three", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
             "3fff:fff:ffff:ffff:ffff:ffff:ffff:fffe", "2001:db8::", (0x8000, 0x7FFF), 0),
], indent=1))
