#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""tag_relay.py FROM TO: a wire between two interfaces until SIGTERM that from SIGUSR1 on tags DTLS application data on its way from FROM
to TO, with 802.1Q and 802.1ad in turns. All else, and all that comes back, passes as it is: there need not be anybody with an interface for the
tag. Prints "ready", at the end tagged=… plain=… back=…"""
import select
import signal
import socket
import struct
import sys

ETH_P_ALL, SOL_PACKET, ADD_MEMBERSHIP, PROMISCUOUS, OUTGOING = 3, 263, 1, 1, 4
TAGS = struct.pack("!HH", 0x8100, 7), struct.pack("!HH", 0x88A8, 3 << 13 | 8)
APPLICATION_DATA = b"\x17\xfe\xfd\x00\x01"
ended, begun = False, False


def end(*_):
    global ended
    ended = True


def begin(*_):
    global begun
    begun = True


def wire(name):
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    one.bind((name, 0))
    one.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, struct.pack("iHH8s", socket.if_nametoindex(name), PROMISCUOUS, 0, b""))
    return one


def is_udp(frame):
    return frame[12:14] == b"\x08\x00" and frame[14] == 0x45 and frame[23] == 17


signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, begin)
near, far = wire(sys.argv[1]), wire(sys.argv[2])
tagged, plain, back = 0, 0, 0
print("ready", flush=True)
while not ended:
    for ready in select.select([near, far], [], [], 0.2)[0]:
        frame, address = ready.recvfrom(65536)
        if address[2] == OUTGOING:
            continue
        if is_udp(frame):  # the sum is left to a card that is not there; zero says that there is none (RFC 768)
            frame = frame[:40] + b"\0\0" + frame[42:]
        if ready is far:
            back += 1
            near.send(frame)
        elif begun and is_udp(frame) and frame[42:47] == APPLICATION_DATA:
            far.send(frame[:12] + TAGS[tagged % 2] + frame[12:])
            tagged += 1
        else:
            plain += 1
            far.send(frame)
print(f"tagged={tagged} plain={plain} back={back}", flush=True)
