#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Stores and fetches many records through the control sockets of gateways, several requests at a time.

  records.py store COUNT OUTFILE SOCKET...      spreads COUNT records over the sockets; writes what was stored as JSON
  records.py fetch INFILE SOCKET...             fetches every record through every socket; exit status 1 when one is missing or differs
  records.py fetch-any INFILE SOCKET...         the same through one socket each, with one more try for a fetch that got no answer
"""
import json
import selectors
import socket
import sys

KIND = "0xf0000001"
WINDOW = 8  # requests in flight on one socket


class Gateway:
    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.settimeout(120)
        self.input = b""
        self.todo = []
        self.flying = []
        self.answers = []

    def send_some(self):
        while self.todo and len(self.flying) < WINDOW:
            request, tag = self.todo.pop(0)
            self.socket.sendall(json.dumps(request).encode() + b"\n")
            self.flying.append(tag)

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise SystemExit(f"{self.path}: the daemon closed the connection")
        self.input += data
        while b"\n" in self.input:
            line, self.input = self.input.split(b"\n", 1)
            answer = json.loads(line)
            tag = answer.pop("tag", None)
            self.answers.append((tag, answer))
            self.flying.pop()


def run(gateways, progress):
    selector = selectors.DefaultSelector()
    total = sum(len(g.todo) for g in gateways)
    for gateway in gateways:
        gateway.send_some()
        if gateway.flying:
            selector.register(gateway.socket, selectors.EVENT_READ, gateway)
    done = 0
    while selector.get_map():
        events = selector.select(timeout=120)
        if not events:
            raise SystemExit(f"{progress}: no answer for 120 s, {done} of {total} done")
        for key, _ in events:
            gateway = key.data
            gateway.receive()
            gateway.send_some()
            if not gateway.flying:
                selector.unregister(gateway.socket)
        done = sum(len(g.answers) for g in gateways)
        if sys.stdout.isatty():
            print(f"\r{progress}: {done} of {total}", end="", flush=True)
    if sys.stdout.isatty():
        print()


def store(count, path, sockets):
    gateways = [Gateway(s) for s in sockets]
    records = []
    for number in range(count):
        gateway = gateways[number % len(gateways)]
        multiple = number // len(gateways) + 1
        value = f"record {number} " + "x" * (number % 64)
        tag = len(records)
        records.append({"value": value, "multiple": multiple, "gateway": number % len(gateways)})
        gateway.todo.append(({"command": "store", "kind": KIND, "node": "self", "multiple": multiple, "value": value, "lifetime": 86400,
                              "tag": tag}, tag))
    for gateway in gateways:
        gateway.socket.sendall(b'{"command": "status"}\n')
        gateway.flying.append(None)
        while not gateway.answers:
            gateway.receive()
        gateway.node_id = gateway.answers.pop()[1]["result"]["node_id"]
    run(gateways, "store")
    refused = [(tag, answer) for g in gateways for tag, answer in g.answers if not answer["ok"]]
    for tag, answer in refused[:5]:
        print(f"record {tag}: {answer['error']}")
    if refused:
        raise SystemExit(f"{len(refused)} of {count} records were not stored")
    for record in records:
        record["node"] = gateways[record.pop("gateway")].node_id
    json.dump(records, open(path, "w"))
    replicas = [len(answer["result"]["replicas"]) for g in gateways for _, answer in g.answers]
    print(f"{count} records stored through {len(gateways)} peers, {min(replicas)} to {max(replicas)} replicas each")


def fetch_request(records, tag):
    record = records[tag]
    return {"command": "fetch", "kind": KIND, "node": record["node"], "multiple": record["multiple"], "tag": tag}


def wrong(records, tag, answer):
    if not answer["ok"]:
        return answer["error"]
    values = [v for v in answer["result"]["values"] if v["exists"]]
    if len(values) != 1:
        return f"{len(values)} values from {answer['result']['responder']}"
    return None if values[0].get("text") == records[tag]["value"] else "another value"


def fetch(path, sockets, spread):
    records = json.load(open(path))
    gateways = [Gateway(s) for s in sockets]
    for tag in range(len(records)):
        for gateway in [gateways[tag % len(gateways)]] if spread else gateways:
            gateway.todo.append((fetch_request(records, tag), tag))
    run(gateways, "fetch")
    failures = [(g, tag, wrong(records, tag, answer)) for g in gateways for tag, answer in g.answers if wrong(records, tag, answer)]
    again = 0
    if spread and failures:
        again = len(failures)
        for gateway in gateways:
            gateway.answers = []
        for gateway, tag, _ in failures:
            gateway.todo.append((fetch_request(records, tag), tag))
        run(gateways, "fetch again")
        failures = [(g, tag, wrong(records, tag, answer)) for g in gateways for tag, answer in g.answers if wrong(records, tag, answer)]
    for gateway, tag, reason in failures[:10]:
        print(f"{gateway.path}: record {tag}: {reason}")
    if failures:
        raise SystemExit(f"{len(failures)} fetches failed")
    if spread:
        print(f"{len(records)} records fetched, each through one of {len(gateways)} peers, {again} at the second try")
    else:
        print(f"{len(records)} records fetched through each of {len(gateways)} peers")


if __name__ == "__main__":
    if sys.argv[1] == "store":
        store(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        fetch(sys.argv[2], sys.argv[3:], sys.argv[1] == "fetch-any")
