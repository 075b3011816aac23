#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Switches GRO of an interface on (or off): a veth whose peer has it takes frames that XDP redirects there. As `ethtool -K NAME gro on`."""
import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL, ETHTOOL_SGRO = 0x8946, 0x2C

value = array.array("B", struct.pack("=II", ETHTOOL_SGRO, sys.argv[2:] != ["off"]))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP", sys.argv[1].encode(), value.buffer_info()[0]))
