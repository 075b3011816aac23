# SPDX-License-Identifier: BSD-2-Clause
"""A call in progress, then many times more requests than a gateway can serve, then one call more.

    sip_overload.py GATEWAY PORT DOMAIN REQUESTS PROCESS

Sends REQUESTS registrations and calls as fast as it can, the first third while the gateway's PROCESS stands still, as on a machine that
has no time for it, so that its socket overflows. Meanwhile requests inside a dialog must be answered by somebody who knows
the dialog or not, but never with 503; repeated as RFC 3261 17.1.2.2 has it, none may be without answer. Afterwards one call must be
served at once. The exit status is 0 when all that holds and some requests were refused with 503 and Retry-After.
"""
import os
import re
import select
import signal
import socket
import sys
import time

GIVE_UP_S = 32  # timer F


class Phone:
    def __init__(self, gateway):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.connect(gateway)
        self.address = self.socket.getsockname()
        self.number = 0

    def request(self, method, user, domain, to_tag="", fields=""):
        self.number += 1
        host, port = self.address
        return (
            f"{method} sip:{user}@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK{port}x{self.number}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:alice@{domain}>;tag=f{self.number}\r\nTo: <sip:{user}@{domain}>{to_tag}\r\n"
            f"Call-ID: {port}-{self.number}\r\nCSeq: 1 {method}\r\n{fields}Content-Length: 0\r\n\r\n"
        ).encode()

    def answers(self):
        """What has come in, as (status, text)."""
        while select.select([self.socket], [], [], 0)[0]:
            try:
                text = self.socket.recv(65535).decode(errors="replace")
            except ConnectionRefusedError:
                continue
            yield int(text[8:11]), text

    def ask(self, message):
        """The final answer to a request, which is repeated until it comes. None when it does not."""
        end, pause = time.monotonic() + GIVE_UP_S, 0.5
        branch = re.search(rb"branch=[^;\r]*", message).group().decode()
        while time.monotonic() < end:
            self.socket.send(message)
            again = time.monotonic() + pause
            while (left := again - time.monotonic()) > 0:
                select.select([self.socket], [], [], left)
                for status, text in self.answers():
                    if branch in text and status >= 200:
                        return status, text
            pause = min(2 * pause, 4)
        return None


def main():
    gateway, domain, count = (sys.argv[1], int(sys.argv[2])), sys.argv[3], int(sys.argv[4])
    process = int(sys.argv[5])
    flood, phone = Phone(gateway), Phone(gateway)
    seen, told = {}, 0

    def note():
        nonlocal told
        for status, text in flood.answers():
            seen[status] = seen.get(status, 0) + 1
            if status == 503:
                overloaded = text.startswith("SIP/2.0 503 Overloaded\r\n")  # not one of the limits on transactions
                if not re.search(r"\r\nRetry-After: [1-9][0-9]*\r\n", text):
                    sys.exit(f"FAIL: refused without Retry-After:\n{text}")
                told += overloaded

    contact = f"Contact: <sip:alice@{flood.address[0]}:{flood.address[1]}>\r\n"
    # Written beforehand: a flood that comes as fast as it is looked at is none. Few enough calls that their transactions have room.
    requests = [
        flood.request("REGISTER" if i % 4 else "INVITE", "alice" if i % 4 else "bob", domain, fields=contact) for i in range(count)
    ]
    os.kill(process, signal.SIGSTOP)
    for i, request in enumerate(requests):
        if i == count // 3:
            os.kill(process, signal.SIGCONT)
        try:
            flood.socket.send(request)
        except (ConnectionRefusedError, BlockingIOError):
            continue
        if i % 64 == 0:
            note()
        if i >= count // 3 and i % (count // 8) == count // 16:
            answer = phone.ask(phone.request("BYE", "nobody", domain, to_tag=";tag=begun"))
            note()
            if answer is None:
                sys.exit("FAIL: a request inside a dialog has no answer")
            if answer[0] == 503:
                sys.exit(f"FAIL: a request inside a dialog was refused:\n{answer[1]}")
    if told == 0:
        sys.exit(f"FAIL: none of {count} requests was refused: {seen}")
    # The first stands behind all the others, and its answer says that the queue is empty.
    for _ in range(2):
        answer = phone.ask(phone.request("MESSAGE", "nobody", domain))
    if answer is None or answer[0] != 404:
        sys.exit(f"FAIL: what comes after the overload is not served: {answer}")
    print(f"{count} requests at once: answers {dict(sorted(seen.items()))}; those inside dialogs were all answered")


if __name__ == "__main__":
    main()
