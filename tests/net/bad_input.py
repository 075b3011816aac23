#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What strangers and broken programs send, for tests/net/bad_input.sh.

  bad_input.py sip ADDRESS PORT COUNT   COUNT malformed datagrams, and a tenth as many TCP connections; then a sound request must be answered
  bad_input.py control SOCKET           lines that are no requests, 100 clients at once; then a sound request must be answered
  bad_input.py hold udp|tcp ADDRESS PORT    occupies a port, says "held", and waits for the end of its input
  bad_input.py lock FILE                the same with a record database
"""
import json
import random
import socket
import sqlite3
import sys

SOUND = (
    "OPTIONS sip:nobody@example.org SIP/2.0\r\n"
    "Via: SIP/2.0/{transport} {host}:{port};branch=z9hG4bK{branch};rport\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:test@example.org>;tag=1\r\nTo: <sip:nobody@example.org>\r\n"
    "Call-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
REGISTER = SOUND.replace("OPTIONS", "REGISTER").replace("Content-Length", "Contact: <sip:nobody@{host}:{port}>\r\nExpires: 60\r\nContent-Length")
INVITE = SOUND.replace("OPTIONS", "INVITE").replace("Content-Length", "Contact: <sip:test@{host}>\r\nContent-Length")
CRAFTED = [
    b"", b"\r\n", b"\0", b"\r\n\r\n" * 500, b"A" * 60000, b"INVITE", b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n\r\n",
    b"SIP/2.0 999999999999 X\r\n\r\n", b"INVITE sip:a@b SIP/2.0\r\n\r\n", b"INVITE sip:a@b SIP/7.0\r\nVia: x\r\n\r\n",
    b"\xff\xfe" * 700, b"OPTIONS sip:%00@%ff SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bK1\r\n\r\n",
    b"OPTIONS " + b"sip:" * 9000 + b" SIP/2.0\r\n\r\n", b"INVITE sip:a@b SIP/2.0\r\n" + b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n" * 1500 + b"\r\n",
    b"INVITE sip:a@b SIP/2.0\r\nX: " + b";" * 30000 + b"\r\n\r\n", b"INVITE sip:a@b SIP/2.0\r\nContent-Length: -1\r\n\r\n",
    b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\n",
]


def request(template, transport, host, port, number):
    return template.format(transport=transport, host=host, port=port, branch=f"b{number:x}").encode()


def damaged(octets, generator):
    octets = bytearray(octets)
    way = generator.randrange(6)
    if way == 0:
        return bytes(octets[: generator.randrange(len(octets))])
    if way == 1:
        for _ in range(generator.randrange(1, 12)):
            octets[generator.randrange(len(octets))] = generator.randrange(256)
        return bytes(octets)
    lines = bytes(octets).split(b"\r\n")
    if way == 2:
        del lines[generator.randrange(len(lines))]
    elif way == 3:
        lines.insert(generator.randrange(1, len(lines)), lines[generator.randrange(len(lines))] * generator.randrange(1, 40))
    elif way == 4:
        lines[generator.randrange(len(lines))] = generator.randbytes(generator.randrange(200))
    else:
        generator.shuffle(lines)
    return b"\r\n".join(lines)


def expect_answer(answer, where):
    first = answer.split(b"\r\n")[0]
    if not first.startswith(b"SIP/2.0 4") and not first.startswith(b"SIP/2.0 5"):
        raise SystemExit(f"{where}: a sound request is answered with {first!r}")


def ask_udp(address, port, number):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fresh:
        fresh.connect((address, port))
        fresh.settimeout(1)
        host, own = fresh.getsockname()
        for _ in range(30):
            fresh.send(request(SOUND, "UDP", host, own, number))
            try:
                expect_answer(fresh.recv(65536), "UDP")
                return
            except (socket.timeout, ConnectionRefusedError):
                continue
    raise SystemExit("UDP: a sound request is not answered")


def ask_tcp(address, port, number):
    with socket.create_connection((address, port), timeout=30) as fresh:
        host, own = fresh.getsockname()
        fresh.sendall(request(SOUND, "TCP", host, own, number))
        expect_answer(fresh.recv(65536), "TCP")


def sip(address, port, count):
    generator = random.Random(6940)
    flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flood.connect((address, port))
    host, own = flood.getsockname()
    for number in range(count):
        template = (SOUND, REGISTER, INVITE)[number % 3]
        octets = CRAFTED[number] if number < len(CRAFTED) else damaged(request(template, "UDP", host, own, number), generator)
        try:
            flood.send(octets)
        except ConnectionRefusedError:
            raise SystemExit("UDP: nobody listens any more")
        if number % 200 == 199:
            ask_udp(address, port, 10**6 + number)
    flood.close()
    for number in range(count // 10):
        template = (SOUND, REGISTER, INVITE)[number % 3]
        with socket.create_connection((address, port), timeout=30) as connection:
            host, own = connection.getsockname()
            sound = request(template, "TCP", host, own, 2 * 10**6 + number)
            octets = CRAFTED[number] if number < len(CRAFTED) else damaged(sound, generator)
            try:
                connection.sendall(octets)
                connection.sendall(generator.randbytes(generator.randrange(100)))
            except (BrokenPipeError, ConnectionResetError):
                pass  # the gateway has seen enough
    ask_udp(address, port, 3 * 10**6)
    ask_tcp(address, port, 3 * 10**6 + 1)
    print(f"{count} datagrams and {count // 10} connections: sound requests are answered throughout")


def connect_control(path):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    client.settimeout(30)
    return client


def read_line(client):
    octets = b""
    while not octets.endswith(b"\n"):
        more = client.recv(65536)
        if not more:
            raise SystemExit("control: hung up without a word")
        octets += more
    return json.loads(octets)


def refused(path, octets, sentence):
    with connect_control(path) as client:
        client.sendall(octets)
        answer = read_line(client)
    if answer.get("ok") is not False or sentence not in answer.get("error", ""):
        raise SystemExit(f"control: {octets[:60]!r} is answered with {answer}")


def control(path):
    refused(path, b"status\n", "The request is not JSON")
    refused(path, b"{\"command\": \"status\"\n", "The request is not JSON")
    refused(path, bytes(range(128, 256)) + b"\n", "The request is not JSON")
    refused(path, b"[]\n", "The request has no \"command\".")
    refused(path, b"{\"command\": \"no\\u0073uch\"}\n", "There is no command \"nosuch\".")
    refused(path, b"{\"command\": \"fetch\"}\n", "Say which Kind")
    refused(path, b"{\"command\": \"resolve\"}\n", "Give a name")
    refused(path, b"{\"command\": \"store\", \"kind\": \"SIP-REGISTRATION\"}\n", "Say which: a name")
    refused(path, b"x" * (3 << 20) + b"\n", "The request is too long.")
    generator = random.Random(7904)
    for _ in range(50):  # noise, and gone without waiting for answers
        with connect_control(path) as client:
            try:
                client.sendall(generator.randbytes(generator.randrange(1, 20000)))
            except BrokenPipeError:
                pass
    clients = [connect_control(path) for _ in range(100)]
    answers = {"served": 0, "refused": 0}
    for client in clients:
        try:
            client.sendall(b"{\"command\": \"status\"}\n")
        except BrokenPipeError:
            pass
        answer = read_line(client)
        if not answer["ok"] and answer["error"] != "Too many control connections are open.":
            raise SystemExit(f"control: one of 100 clients is told {answer}")
        answers["served" if answer["ok"] else "refused"] += 1
    for client in clients:
        client.close()
    if answers["served"] < 16 or answers["refused"] == 0:
        raise SystemExit(f"control: of 100 clients {answers}")
    with connect_control(path) as client:
        client.sendall(b"{\"command\": \"status\"}\n")
        if not read_line(client)["ok"]:
            raise SystemExit("control: a sound request is refused")
    print(f"control socket: of 100 clients at once {answers['served']} were served and {answers['refused']} told why not")


def hold(kind, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as taken:
        taken.bind((address, port))
        if kind == "tcp":
            taken.listen()
        print("held", flush=True)
        sys.stdin.read()


def lock(path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("BEGIN EXCLUSIVE")
    print("held", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "sip":
        sip(rest[0], int(rest[1]), int(rest[2]))
    elif what == "control":
        control(rest[0])
    elif what == "hold":
        hold(rest[0], rest[1], int(rest[2]))
    else:
        lock(rest[0])
