#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Watches an interface until SIGTERM: does any sender of DTLS use a record number of an epoch for two records towards the same receiver?

The same record once more is a frame that the network, or the capture, has doubled. Handshake records of epoch 0 are not looked at. Prints
a line for each of the first repeated numbers, and at the end one: records seen, numbers repeated, frames the kernel did not show us,
handshake records of epoch 0."""
import signal
import socket
import struct
import sys

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 3, 263, 6, 33
HANDSHAKE = 22
port = int(sys.argv[2])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
wire.bind((sys.argv[1], 0))
seen, repeated, handshakes, ended = {}, 0, 0, False


def end(*_):
    global ended
    ended = True


def datagram(frame):
    """Addresses, ports and payload of a UDP datagram to or from the port, else None."""
    at, kind = 14, struct.unpack_from("!H", frame, 12)[0]
    if kind == 0x0800 and frame[14] == 0x45 and frame[23] == 17:
        addresses, at = frame[26:34], 34
    elif kind == 0x86DD and frame[20] == 17:
        addresses, at = frame[22:54], 54
    else:
        return None
    source, target, length = struct.unpack_from("!HHH", frame, at)
    if port not in (source, target):
        return None
    return addresses + frame[at : at + 4], frame[at + 8 : at + length]


def examine(frame):
    global repeated, handshakes
    found = datagram(frame)
    if not found:
        return
    flow, payload = found
    while len(payload) >= 13:
        epoch, high, low, length = struct.unpack_from("!HHIH", payload, 3)
        if epoch == 0:
            handshakes += payload[0] == HANDSHAKE
        else:
            record = hash(payload[13 : 13 + length]), payload[0], length, handshakes
            first = seen.setdefault((flow, epoch, high, low), record)
            if first[0] != record[0]:
                repeated += 1
                if repeated <= 5:
                    print(f"{flow.hex()}: {epoch}/{high << 32 | low}: (sum, type, length, handshake records before) {first}, {record}", flush=True)
        payload = payload[13 + length :]


signal.signal(signal.SIGTERM, end)
wire.settimeout(0.2)
print("watching", flush=True)
while not ended:
    try:
        examine(wire.recv(65536))
    except socket.timeout:
        pass
missed = struct.unpack("II", wire.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
print(f"records={len(seen)} repeated={repeated} missed={missed} handshakes={handshakes}", flush=True)
