# SPDX-License-Identifier: BSD-2-Clause
"""Registers phones of many users again and again, and tells what that costs the gateway's process.

    register_stored.py GATEWAY PORT DOMAIN USERS PROCESS

Prints microseconds of processor time for each REGISTER, by the scheduler's books of all threads of PROCESS, the median of REPETITIONS:
of those that differ from the one before in their Contact's q, and of those that say the same again. All have to be answered 200.
"""
import os
import select
import socket
import statistics
import sys

REPETITIONS, ANSWER_S = 5, 20
KINDS = {"stored": (200, 4), "renewed": (4000, 16)}  # requests, and how many at once


def spent_ns(process):
    total = 0
    for thread in os.listdir(f"/proc/{process}/task"):
        with open(f"/proc/{process}/task/{thread}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


def main():
    gateway, domain = (sys.argv[1], int(sys.argv[2])), sys.argv[3]
    users, process = int(sys.argv[4]), int(sys.argv[5])
    phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.connect(gateway)
    host, port = phone.getsockname()
    serial = 0

    def ask(new):
        nonlocal serial
        user = serial % users
        serial += 1
        q = f"0.{serial % 1000:03}" if new else "1"
        phone.send(
            f"REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{serial};rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:user{user}@{domain}>;tag=t{user}\r\nTo: <sip:user{user}@{domain}>\r\nCall-ID: 3c26700a1b2c-{user}@desk\r\n"
            f"CSeq: {serial} REGISTER\r\nContact: <sip:user{user}@{host}:{port};line=abcdef>;q={q}\r\nExpires: 3600\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )

    def run(count, window, new):
        sent = done = 0
        while done < count:
            while sent < count and sent - done < min(window, users):
                ask(new)
                sent += 1
            if not select.select([phone], [], [], ANSWER_S)[0]:
                sys.exit("no answer")
            status = phone.recv(65535)[8:11]
            if status == b"100":
                continue
            if status != b"200":
                sys.exit(f"answered {status.decode()}")
            done += 1

    for kind, (requests, window) in KINDS.items():
        run(2 * users, window, kind == "stored")
        costs = []
        for _ in range(REPETITIONS):
            before = spent_ns(process)
            run(requests, window, kind == "stored")
            costs.append((spent_ns(process) - before) / 1000 / requests)
        print(f"sip_register_{kind}_us {statistics.median(costs):.2f}")


if __name__ == "__main__":
    main()
