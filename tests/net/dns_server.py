# SPDX-License-Identifier: BSD-2-Clause
"""A name server for tests, over UDP: dns_server.py ADDRESS PORT ZONE. The zone has lines such as
    _reload-config._tcp.example.org SRV 10 0 443 server.example.org
    server.example.org A 192.0.2.5
    example.org NAPTR 10 10 s SIP+D2U _sip._udp.example.org
What it has not is NXDOMAIN. It writes "asked NAME TYPE" for every question."""
import socket
import struct
import sys

TYPES = {1: "A", 28: "AAAA", 33: "SRV", 35: "NAPTR"}


def labels(name):
    parts = [part.encode() for part in name.rstrip(".").split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def read_name(message, at):
    parts = []
    while message[at]:
        parts.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(parts), at + 1


def rdata(kind, values):
    if kind == "A":
        return socket.inet_aton(values[0])
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, values[0])
    if kind == "NAPTR":
        texts = [values[2].encode(), values[3].encode(), b""]
        strings = b"".join(bytes([len(text)]) + text for text in texts)
        return struct.pack("!HH", *map(int, values[:2])) + strings + labels(values[4])
    return struct.pack("!HHH", *map(int, values[:3])) + labels(values[3])


def answer(query, zone):
    identifier, flags = struct.unpack("!HH", query[:4])
    name, at = read_name(query, 12)
    number = struct.unpack("!H", query[at : at + 2])[0]
    kind = TYPES.get(number, str(number))
    print("asked", name, kind, flush=True)
    records = [values for owner, what, values in zone if owner == name.lower() and what == kind]
    known = any(owner == name.lower() for owner, _, _ in zone)
    header = struct.pack("!HHHHHH", identifier, 0x8580 if known else 0x8583, 1, len(records), 0, 0)
    body = query[12 : at + 4]
    for values in records:
        data = rdata(kind, values)
        body += b"\xc0\x0c" + struct.pack("!HHIH", number, 1, 1, len(data)) + data
    return header + body


def main():
    address, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    with open(path) as file:
        words = [line.split() for line in file if line.strip()]
    zone = [(word[0].lower(), word[1], word[2:]) for word in words]
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, port))
    print("serving", flush=True)
    while True:
        query, source = server.recvfrom(4096)
        try:
            server.sendto(answer(query, zone), source)
        except (IndexError, struct.error, UnicodeDecodeError):
            print("a question that cannot be read", flush=True)


main()
