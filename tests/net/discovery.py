#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What others may do on the local network with multicast DNS.

  discovery.py flood ADDRESS OVERLAY       from ADDRESS, until killed: answers of every bad sort, as fast as they go; prints "flooding"
  discovery.py listen ADDRESS SECONDS      asks for _reload._udp.local and prints each answer's service, port, overlay and addresses
  discovery.py amplify ADDRESS COUNT       COUNT questions at once, then prints how many answers came within three seconds
"""
import socket
import struct
import sys
import time

GROUP, PORT = "224.0.0.251", 5353
SERVICE = "_reload._udp.local"


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def record(owner, kind, data, ttl=120, flush=True):
    return name(owner) + struct.pack("!HHIH", kind, 0x8001 if flush else 1, ttl, len(data)) + data


def text(*strings):
    return b"".join(bytes([len(s)]) + s.encode() for s in strings)


def answer(label, port, overlay, addresses):
    instance, host = f"{label}.{SERVICE}", f"{label}.local"
    records = [record(SERVICE, 12, name(instance), 4500, False), record(instance, 33, struct.pack("!HHH", 0, 0, port) + name(host)),
               record(instance, 16, text("txtvers=1", f"overlay={overlay}"))]
    records += [record(host, 1, socket.inet_aton(address)) for address in addresses]
    return struct.pack("!6H", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def question():
    return struct.pack("!6H", 0, 0, 1, 0, 0, 0) + name(SERVICE) + struct.pack("!HH", 12, 1)


def opened(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(("", PORT))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(address))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    return s


def flood(address, overlay):
    s = opened(address)
    bad = [
        answer("a" * 32, 6084, "other.example", ["192.0.2.66"]),           # another overlay
        answer("b" * 32, 6084, overlay + ".example", ["192.0.2.66"]),
        answer("c" * 32, 6084, overlay, ["203.0.113.66"]),                  # somebody far away
        answer("d" * 32, 6084, overlay, ["224.0.0.251", "0.0.0.0", "255.255.255.255"]),
        answer("e" * 32, 0, overlay, ["192.0.2.66"]),
        answer("f" * 32, 6084, overlay, ["203.0.113.66"] * 40),
        answer("0" * 32, 6084, overlay, ["192.0.2.66"])[:-7],               # cut off
        struct.pack("!6H", 0, 0x8400, 65535, 65535, 65535, 65535),
        struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + b"\xc0\x0c" * 40,        # names that point at themselves
        struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + b"\x3fa" * 300,
        b"\0" * 9000, b"x",
    ]
    print("flooding", flush=True)
    while True:
        for message in bad:
            try:
                s.sendto(message, (GROUP, PORT))
            except OSError:
                pass


class Reader:
    def __init__(self, message):
        self.m, self.at = message, 12

    def name(self):
        labels, at, jumped = [], self.at, False
        while self.m[at]:
            if self.m[at] >= 0xc0:
                target = struct.unpack_from("!H", self.m, at)[0] & 0x3fff
                self.at, at, jumped = (self.at if jumped else at + 2), target, True
                continue
            labels.append(self.m[at + 1:at + 1 + self.m[at]].decode())
            at += 1 + self.m[at]
        if not jumped:
            self.at = at + 1
        return ".".join(labels)


def listen(address, seconds):
    s = opened(address)
    s.sendto(question(), (GROUP, PORT))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        s.settimeout(max(0.01, end - time.monotonic()))
        try:
            message, source = s.recvfrom(9000)
        except socket.timeout:
            break
        flags, questions, answers, authority, additional = struct.unpack_from("!5H", message, 2)
        if not flags & 0x8000:
            continue
        r = Reader(message)
        for _ in range(questions):
            r.name()
            r.at += 4
        words = [source[0]]
        for _ in range(answers + authority + additional):
            owner = r.name()
            kind, _, ttl, length = struct.unpack_from("!HHIH", message, r.at)
            r.at += 10
            end_of_data = r.at + length
            if kind == 12:
                words.append(f"PTR {r.name()} ttl {ttl}")
            elif kind == 33:
                port = struct.unpack_from("!H", message, r.at + 4)[0]
                words.append(f"SRV {owner} port {port} ttl {ttl}")
            elif kind == 16:
                words.append("TXT " + message[r.at:end_of_data].decode(errors="replace"))
            elif kind == 1:
                words.append("A " + socket.inet_ntoa(message[r.at:end_of_data]))
            r.at = end_of_data
        print("; ".join(words), flush=True)


def amplify(address, count):
    s = opened(address)
    simple = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # not from port 5353: a simple resolver's, or a forged one
    simple.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    # Else its questions fill the buffer of the other one, and answers are lost.
    simple.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    # A record is not multicast twice within a second (RFC 6762 6): begin when the last answer to somebody else is older than that.
    s.settimeout(1.2)
    for _ in range(100):
        try:
            s.recvfrom(9000)
        except socket.timeout:
            break
    for _ in range(count):
        s.sendto(question(), (GROUP, PORT))
        simple.sendto(question(), (GROUP, PORT))
    end, answers, direct = time.monotonic() + 3, 0, 0
    while time.monotonic() < end:
        s.settimeout(max(0.01, end - time.monotonic()))
        try:
            message, _ = s.recvfrom(9000)
        except socket.timeout:
            break
        answers += bool(message[2] & 0x80)
    simple.setblocking(False)
    try:
        while simple.recv(9000):
            direct += 1
    except BlockingIOError:
        pass
    print(answers, direct)


if __name__ == "__main__":
    if sys.argv[1] == "flood":
        flood(sys.argv[2], sys.argv[3])
    elif sys.argv[1] == "listen":
        listen(sys.argv[2], float(sys.argv[3]))
    else:
        amplify(sys.argv[2], int(sys.argv[3]))
