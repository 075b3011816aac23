# SPDX-License-Identifier: BSD-2-Clause
"""Damaged SIP messages at a live gateway, over UDP and TCP: it still answers afterwards.

    sip_mutations.py ADDRESS PORT COUNT SEED MESSAGE...

Every 100 messages a sound one has to be answered, so that none is lost because they come too fast.
"""
import random
import re
import socket
import sys

PIECES = [b"\r\n", b"\r\n\r\n", b"\0", b"%00", b"\\\0", b'"', b"<", b">", b";", b",", b":", b"sip:", b"sips:", b"[::1]", b"@", b"branch=z9hG4bK",
          b";tag=", b";lr", b"Route: <sip:", b"Via: SIP/2.0/UDP ", b"Contact: *\r\n", b"Content-Length: ", b"4294967296", b"-1", b"\xff\xfe",
          b"INVITE ", b"ACK ", b"CANCEL ", b"REGISTER ", b"BYE ", b"SIP/2.0 200 OK\r\n", b"SIP/2.0 180 x\r\n", b"a" * 5000, b";a" * 600,
          b"Max-Forwards: 0\r\n", b"Expires: 0\r\n", b";q=0.5", b"Max-Breadth: 1\r\n", b"example.org", b"alice"]


def mutate(message, other, rng):
    data = bytearray(message)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at:at + rng.choice((1, 2, 10, 100))]
        elif kind == 2:
            data[at:at] = rng.choice(PIECES)
        elif kind == 3:
            data[at:at] = data[at:at + rng.randint(1, 200)]
        elif kind == 4:
            begin = rng.randrange(len(other))
            data[at:at] = other[begin:begin + rng.randint(1, 300)]
        elif kind == 5:
            numbers = list(re.finditer(rb"\d+", bytes(data)))
            if numbers:
                number = rng.choice(numbers)
                data[number.start():number.end()] = rng.choice((b"0", b"1", b"65536", b"99999999999999999999", b"-5", b""))
        elif rng.random() < 0.1:
            del data[at:]
    return bytes(data[:60000])


def main():
    address, port, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    messages = []
    for name in sys.argv[5:]:
        with open(name, "rb") as file:
            text = file.read()
            # As often for a user of ours as for others.
            messages += [text, re.sub(rb"^(\S+) \S+ SIP", rb"\1 sip:alice@example.org SIP", text, count=1)]
    rng = random.Random(seed)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("", 0))
    udp.settimeout(30)
    tcp = None

    def ask(number):
        token = b"live%d" % number
        udp.sendto(b"OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s\r\nFrom: <sip:a@example.org>;tag=1\r\n"
                   b"To: <sip:a@example.org>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
                   % (address.encode(), token, token), (address, port))
        while True:
            try:
                answer = udp.recv(65536)
            except socket.timeout:
                print("FAIL: no answer after %d messages (seed %d)" % (number, seed))
                sys.exit(1)
            if token in answer and answer.startswith(b"SIP/2.0 200"):
                return

    for number in range(count):
        data = mutate(rng.choice(messages), rng.choice(messages), rng)
        if rng.random() < 0.7:
            udp.sendto(data, (address, port))
        else:
            try:
                if not tcp:
                    tcp = socket.create_connection((address, port), timeout=30)
                tcp.sendall(data)
                if rng.random() < 0.2:
                    tcp.close()
                    tcp = None
            except OSError:
                tcp = None
        if number % 100 == 99:
            ask(number)
    ask(count)
    print("ok: %d damaged messages (seed %d)" % (count, seed))


main()
