#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Bad servers and bad clients for enroll_faults.sh.
   enroll_faults.py serve ADDRESS CERT KEY DOCUMENT OTHER-CERT    a configuration server that answers /CASE in the way of that case
   enroll_faults.py CASE ADDRESS CA-FILE HOST [ARGUMENT…]         a client; ends with 0 when the server did what it should"""
import http.server
import json
import select
import socket
import ssl
import sys
import threading
import time

XML = "application/p2p-overlay+xml"
GIVE_UP_S = 60


# ---- a server that does what it should not ----

def bomb(lines):
    entities = ['<!ENTITY a0 "ha">'] + [f'<!ENTITY a{i} "{"&a%d;" % (i - 1) * 10}">' for i in range(1, 10)]
    return ('<?xml version="1.0"?><!DOCTYPE overlay [' + "".join(entities) + "]>" + lines.replace("<configuration", "&a9;<configuration", 1)).encode()


def external(lines):
    return ('<?xml version="1.0"?><!DOCTYPE overlay [<!ENTITY x SYSTEM "file:///etc/passwd">]>' +
            lines.replace("<no-ice>", "&x;<no-ice>", 1)).encode()


class Bad(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    document = certificate = b""

    def answer(self, body, content_type=XML, status=200, length=None, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # it has heard enough
        self.close_connection = True

    def do_GET(self):
        text = self.document.decode()
        body = text.split("?>", 1)[1]
        case = self.path.strip("/").split("/")[0]
        answers = {
            "truncated": lambda: self.answer(self.document[:len(self.document) // 2]),
            "cut": lambda: self.answer(self.document[:-100], length=len(self.document)),
            "bomb": lambda: self.answer(bomb(body)),
            "external": lambda: self.answer(external(body)),
            "huge": lambda: self.answer(b" " * 20000000),
            "deep": lambda: self.answer(b"<a>" * 80000),
            "empty": lambda: self.answer(b""),
            "noise": lambda: self.answer(bytes(range(256)) * 8),
            "page": lambda: self.answer(b"<html>Sign in to the hotel's network</html>", "text/html"),
            "redirect": lambda: self.answer(b"", status=302, headers=[("Location", "https://example.org/good")]),
            "changed": lambda: self.answer(self.document.replace(b'sequence="1"', b'sequence="9"')),
            "unsigned": lambda: self.answer(self.document[:self.document.rindex(b"<signature>")] + b"</overlay>"),
            "trouble": lambda: self.answer(b"no database\x1b[31m\n", "text/plain", 500),
        }
        answers.get(case, lambda: self.answer(self.document))()

    def do_POST(self):
        # The password says what to do, as all of them post to the URL in the document.
        body = self.rfile.read(int(self.headers["Content-Length"]))
        pkix = "application/pkix-cert"
        answers = {
            b"other-certificate": lambda: self.answer(self.certificate, pkix),
            b"half-a-certificate": lambda: self.answer(self.certificate[:100], pkix),
            b"huge-certificate": lambda: self.answer(b"0" * 1000000, pkix),
            b"empty-certificate": lambda: self.answer(b"", pkix),
            b"wrong-type": lambda: self.answer(self.certificate, "text/plain"),
            b"unknown-token": lambda: self.answer(b"moon_phase", "text/plain", 403),
            b"busy-for-now": lambda: self.answer(b"The server is busy.\n", "text/plain", 503, headers=[("Retry-After", "5")]),
            b"hang-up": lambda: self.connection.shutdown(socket.SHUT_RDWR),
        }
        for word, answer in answers.items():
            if word in body:
                answer()
                return
        self.answer(b"?", "text/plain", 400)

    def log_message(self, *arguments):
        pass


def serve(address, certificate, key, document, other):
    Bad.document = open(document, "rb").read()
    Bad.certificate = ssl.PEM_cert_to_DER_cert(open(other).read())
    host, port = address.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Bad)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("serving", flush=True)
    server.serve_forever()


# ---- clients that do what they should not ----

class Client:
    def __init__(self, address, ca_file, host):
        self.host = host
        name, port = address.rsplit(":", 1)
        context = ssl.create_default_context(cafile=ca_file)
        self.socket = context.wrap_socket(socket.create_connection((name, int(port)), GIVE_UP_S), server_hostname=host)
        self.socket.settimeout(GIVE_UP_S)

    def head(self, length, content_type="multipart/form-data; boundary=----form0123456789", more="", path="/enroll", method="POST"):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Content-Type: {content_type}", "Accept: application/pkix-cert"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n" + more + "\r\n").encode()

    def answer(self):
        """Status and the whole answer, or None when the server just closed."""
        data = b""
        try:
            while True:
                part = self.socket.recv(65536)
                if not part:
                    break
                data += part
                head, end, body = data.partition(b"\r\n\r\n")
                length = [line.split()[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
                if end and length and len(body) >= int(length[0]):
                    break
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
        return (int(data.split()[1]), data.decode(errors="replace")) if data else None

    def ask(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # it has answered already
        return self.answer()


def form(fields, end=True):
    parts = "".join(f'------form0123456789\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields)
    return (parts + ("------form0123456789--\r\n" if end else "")).encode()


def expect(answer, status, word=""):
    assert answer is not None, f"closed without an answer, expected {status}"
    assert answer[0] == status and word in answer[1], f"expected {status} {word}, got: {answer[1]}"


def case_forms(*where):
    body = form([("username", "alice@example.org"), ("password", "wrong")], end=False)
    client = Client(*where)
    expect(client.ask(client.head(len(body)) + body), 400, "cut off")
    client = Client(*where)
    expect(client.ask(client.head(len(body), "multipart/form-data") + body), 400)
    for content_type in ("application/x-www-form-urlencoded", "application/json", "text/plain", "multipart/mixed; boundary=----form0123456789"):
        client = Client(*where)
        expect(client.ask(client.head(len(body), content_type) + body), 415)
    client = Client(*where)
    expect(client.ask(client.head(0)), 403, "failed_authentication")  # a form of nobody
    noise = bytes(range(256)) * 64
    client = Client(*where)
    answer = client.ask(client.head(len(noise)) + noise)
    assert answer is None or answer[0] in (400, 403), answer
    for method in ("PUT", "DELETE", "OPTIONS"):
        client = Client(*where)
        expect(client.ask(client.head(0, method=method)), 405, "Allow")
    # A request that breaks off in the middle, again and again.
    for length in range(0, len(body), 20):
        client = Client(*where)
        client.socket.sendall(client.head(len(body) + 100) + body[:length])
        client.socket.close()


def case_huge(*where):
    client = Client(*where)
    expect(client.ask(client.head(10 ** 12)), 413)
    # Chunks without end: told, and cut off when it does not stop.
    client = Client(*where)
    client.socket.sendall(client.head(None, more="Transfer-Encoding: chunked\r\n"))
    sent = 0
    try:
        while sent < 50000000:
            client.socket.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            sent += 4096
    except OSError:
        pass
    assert sent < 5000000, f"{sent} octets were taken"
    # Headers without end.
    client = Client(*where)
    client.socket.sendall(b"GET / HTTP/1.1\r\n")
    sent = 0
    try:
        while sent < 5000000:
            client.socket.sendall(b"X-Filler: " + b"y" * 1000 + b"\r\n")
            sent += 1012
    except OSError:
        pass
    assert sent < 1000000, f"{sent} octets of headers were taken"


def case_slow(*where):
    """Holds many connections with half a request each; says "holding"; ends when the server has closed all of them."""
    clients = [Client(*where) for _ in range(40)]
    for number, client in enumerate(clients):
        client.socket.sendall(client.head(5000)[:20 + number * 4] if number % 2 else client.head(5000) + b"------form0123456789\r\n")
    print("holding", flush=True)
    for client in clients:
        client.answer()


def case_drip(*where):
    """An octet now and then: never silent for long, and still cut off."""
    client = Client(*where)
    start = time.monotonic()
    closed = threading.Event()
    threading.Thread(target=lambda: (client.answer(), closed.set()), daemon=True).start()
    data = client.head(5000)
    for octet in data + b"x" * 5000:
        try:
            client.socket.sendall(bytes([octet]))
        except OSError:
            return
        if closed.wait(0.25):
            return
        assert time.monotonic() - start < GIVE_UP_S, "it was never cut off"


def case_crowd(*where):
    """As many connections as the server has, each with an octet now and then; says "holding"; ends when all are closed."""
    clients = [Client(*where) for _ in range(40)]
    for client in clients:
        client.socket.settimeout(0.1)  # what is there to read may be no more than session tickets
    print("holding", flush=True)
    start = time.monotonic()
    while clients:
        assert time.monotonic() - start < GIVE_UP_S, f"{len(clients)} were never cut off"
        readable, _, _ = select.select([client.socket for client in clients], [], [], 0.5)
        for client in list(clients):
            try:
                client.socket.sendall(b"x")
                if client.socket not in readable or client.socket.recv(4096):
                    continue
            except TimeoutError:
                continue
            except OSError:
                pass
            clients.remove(client)


def case_busy(*where):
    """More at once than the queue holds: some are told to come again, all are answered."""
    body = form([("username", "nobody@example.org"), ("password", "wrong")])
    clients, answers = [Client(*where) for _ in range(24)], []
    for client in clients:
        client.socket.sendall(client.head(len(body)) + body)
    for client in clients:
        answers.append(client.answer())
    statuses = [answer and answer[0] for answer in answers]
    assert set(statuses) == {403, 503}, statuses
    assert all("Retry-After: 5" in answer[1] for answer in answers if answer[0] == 503), answers
    print(json.dumps({"refused": statuses.count(503), "served": statuses.count(403)}))


def case_guess(*where):
    """Wrong passwords until the network is refused, with the time to wait."""
    for number in range(200):
        body = form([("username", f"user{number}@example.org"), ("password", "wrong")])
        client = Client(*where)
        answer = client.ask(client.head(len(body)) + body)
        if answer[0] == 429:
            seconds = [line.split()[1] for line in answer[1].split("\r\n") if line.startswith("Retry-After: ")]
            assert seconds and 1 <= int(seconds[0]) <= 60, answer
            print(number)
            return
        expect(answer, 403, "failed_authentication")
    raise AssertionError("never refused")


def case_get(*where):
    client = Client(*where[:3])
    expect(client.ask(client.head(0, path="/.well-known/reload-config", method="GET")), int(where[3]), where[4] if len(where) > 4 else "")


def main():
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
        return 0
    try:
        globals()["case_" + sys.argv[1]](*sys.argv[2:])
    except AssertionError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
