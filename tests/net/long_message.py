#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A MESSAGE of a chosen length, in a datagram.

long_message.py send GATEWAY URI OCTETS     sends it with a body of so many octets and prints how it is answered
long_message.py take ADDRESS PORT [udp] [tcp]  answers the first one that comes there, and prints transport, length and topmost Via
"""
import re
import select
import socket
import sys


def send(gateway, uri, octets):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    s.connect((gateway, 5060))
    host, port = s.getsockname()
    body = "x" * int(octets)
    s.send(
        (
            f"MESSAGE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bKl{port};rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:bob@example.org>;tag=1\r\nTo: <{uri}>\r\nCall-ID: l{port}\r\nCSeq: 1 MESSAGE\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
    )
    code = "100"
    while code == "100":
        code = s.recv(65536).split()[1].decode()
    print(code)


def is_whole(text):
    head, end, body = text.partition(b"\r\n\r\n")
    return end and len(body) >= int(re.search(rb"\r\nContent-Length: *(\d+)", head)[1])


def take(address, port, *transports):
    kinds = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
    listeners = []
    for name in transports:
        s = socket.socket(socket.AF_INET, kinds[name])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, int(port)))
        if name == "tcp":
            s.listen()
        listeners.append(s)
    s = select.select(listeners, [], [], 30)[0][0]
    if s.type == socket.SOCK_STREAM:
        s, peer = s.accept()[0], None
        text = b""
        while not is_whole(text):
            more = s.recv(65536)
            if not more:
                raise EOFError("the connection ends in the middle")
            text += more
    else:
        text, peer = s.recvfrom(65536)
    head, body = text.decode().split("\r\n\r\n", 1)
    kept = [line for line in head.split("\r\n") if line.split(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")]
    answer = "\r\n".join(["SIP/2.0 200 OK"] + kept + ["Content-Length: 0", "", ""]).encode()
    if peer:
        s.sendto(answer, peer)
    else:
        s.sendall(answer)
    print("udp" if peer else "tcp", len(body) if body == "x" * len(body) else "broken", re.search("SIP/2.0/([A-Z]*)", kept[0])[1])


{"send": send, "take": take}[sys.argv[1]](*sys.argv[2:])
