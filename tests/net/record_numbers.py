#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Watches an interface until SIGTERM: does any sender of DTLS use a record number of an epoch for two records towards the same receiver?

The same record once more is a frame that the network, or the capture, has doubled. Each handshake (known by the random number of its
ClientHello) makes new keys: numbers begin anew with the ChangeCipherSpec that either end sends in it, and not with that one's
retransmissions. Other records of epoch 0 are not looked at. Prints a line for each of the first repeated numbers, and at the end one:
records seen, numbers repeated, frames the kernel did not show us, handshake records of epoch 0."""
import signal
import socket
import struct
import sys

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 3, 263, 6, 33
CHANGE_CIPHER_SPEC, HANDSHAKE, CLIENT_HELLO = 20, 22, 1
port = int(sys.argv[2])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
wire.bind((sys.argv[1], 0))
seen, records, repeated, handshakes, ended = {}, 0, 0, 0, False
randoms, fresh = {}, set()  # of the last handshake of two ends; who is to begin anew in it


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


def on_epoch_0(flow, kind, body):
    """Body: of the record. A handshake message has a header of 12 octets; in a ClientHello, version and random number are behind it."""
    global handshakes
    if kind == HANDSHAKE:
        handshakes += 1
        offset = body[6:9]
        if len(body) >= 46 and body[0] == CLIENT_HELLO and offset == bytes(3) and randoms.get(pair(flow)) != body[14:46]:
            randoms[pair(flow)] = body[14:46]
            fresh.update((flow, reverse(flow)))
    elif kind == CHANGE_CIPHER_SPEC and flow in fresh:
        fresh.remove(flow)
        seen.pop(flow, None)


def reverse(flow):
    half = (len(flow) - 4) // 2
    return flow[half : 2 * half] + flow[:half] + flow[-2:] + flow[-4:-2]


def pair(flow):
    return min(flow, reverse(flow))


def examine(frame):
    global records, repeated
    found = datagram(frame)
    if not found:
        return
    flow, payload = found
    while len(payload) >= 13:
        epoch, high, low, length = struct.unpack_from("!HHIH", payload, 3)
        if epoch == 0:
            on_epoch_0(flow, payload[0], payload[13 : 13 + length])
        else:
            record = hash(payload[13 : 13 + length]), payload[0], length, handshakes
            first = seen.setdefault(flow, {}).setdefault((epoch, high, low), record)
            records += first is record
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
print(f"records={records} repeated={repeated} missed={missed} handshakes={handshakes}", flush=True)
