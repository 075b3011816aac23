#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""join_at_once.py RINGGATED NETWORK WORK FIRST LAST: starts those gateways (see appliance/trial/overlay.sh) at once, reads in their logs
when each is in the overlay, and prints join_s_p50 and join_s_p95."""
import os
import selectors
import subprocess
import sys
import time

GIVE_UP_S = 180


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def main():
    ringgated, network, work, first, last = sys.argv[1:4] + [int(word) for word in sys.argv[4:6]]
    daemons, started, joined, tails = {}, {}, {}, {}
    selector = selectors.DefaultSelector()
    for number in range(first, last + 1):
        command = ["ip", "netns", "exec", f"{network}-g{number}", ringgated, "--config", f"{work}/gateway-{number}/ringgate.conf"]
        started[number] = time.monotonic()
        daemons[number] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        os.set_blocking(daemons[number].stderr.fileno(), False)
        selector.register(daemons[number].stderr, selectors.EVENT_READ, number)
        tails[number] = b""
    deadline = time.monotonic() + GIVE_UP_S
    while len(joined) < len(daemons) and selector.get_map() and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            number, data = key.data, key.fileobj.read()
            now = time.monotonic()
            if not data:
                selector.unregister(key.fileobj)
                continue
            tails[number] = (tails[number] + data)[-4000:]
            if number not in joined and b"The node is joined." in tails[number]:
                joined[number] = now - started[number]
    for daemon in daemons.values():
        daemon.kill()
    for daemon in daemons.values():
        daemon.wait()
    for number in set(daemons) - set(joined):
        print(f"gateway {number} has not joined:\n{tails[number].decode(errors='replace')}", file=sys.stderr)
    if len(joined) < len(daemons):
        return 1
    print(f"join_s_p50 {percentile(joined.values(), 0.5):.3f}\njoin_s_p95 {percentile(joined.values(), 0.95):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
