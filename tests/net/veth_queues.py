#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Prints how many packets an XDP program took from each receive queue of a veth, as `ethtool -S NAME`."""
import array
import fcntl
import re
import socket
import struct
import sys

SIOCETHTOOL, GSTRINGS, GSTATS, GSSET_INFO, STATS, NAME = 0x8946, 0x1B, 0x1D, 0x37, 1, 32


def ask(control, octets):
    buffer = array.array("B", octets)
    fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP", sys.argv[1].encode(), buffer.buffer_info()[0]))
    return buffer.tobytes()


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    count = struct.unpack("IIQI", ask(control, struct.pack("IIQI", GSSET_INFO, 0, 1 << STATS, 0)))[3]
    names = ask(control, struct.pack("III", GSTRINGS, STATS, count) + bytes(NAME * count))[12:]
    values = struct.unpack_from(f"{count}Q", ask(control, struct.pack("II", GSTATS, count) + bytes(8 * count)), 8)
names = [names[NAME * i : NAME * (i + 1)].split(b"\0")[0].decode() for i in range(count)]
found = sorted((int(m[1]), v) for n, v in zip(names, values) if (m := re.fullmatch(r"rx_queue_(\d+)_xdp_packets", n)))
print(*(value for _, value in found))
