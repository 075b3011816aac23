# SPDX-License-Identifier: BSD-2-Clause
"""Real phones (baresip without sound hardware) in network namespaces: calls, audio, cancel and transfer.

    phones.py MODE TRANSPORT DOMAIN WORK NAME=NAMESPACE=ADDRESS=GATEWAY...

Each phone is controlled over its ctrl_tcp socket and watched on the wire: audio counts only when RTP with changing contents goes
both ways between the phones themselves. Addresses are of IPv4 or IPv6.
"""
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

GIVE_UP = 60  # seconds for any one event

CONFIG = """poll_method epoll
sip_listen {address}:5060
call_local_timeout 120
call_max_calls 4
audio_source ausine,440
audio_player aubridge,{name}
audio_alert aubridge,alert-{name}
ausrc_srate 48000
auplay_srate 8000
ausrc_channels 2
auplay_channels 1
net_interface lan
rtp_ports 10000-20000
module_path {modules}
module g711.so
module aubridge.so
module ausine.so
module_app uuid.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:4444
{extra}
"""

libc = ctypes.CDLL(None, use_errno=True)


def in_uri(address):
    return "[%s]" % address if ":" in address else address


def fail(text):
    print("FAIL: " + text)
    sys.exit(1)


def in_namespace(namespace, make):
    """Runs make() in a namespace; sockets made there stay there."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + namespace, os.O_RDONLY)
    if libc.setns(there, 0) != 0:
        fail("the namespace %s cannot be entered" % namespace)
    try:
        return make()
    finally:
        libc.setns(home, 0)
        os.close(home)
        os.close(there)


class Phone:
    def __init__(self, text, mode, transport, domain, work, modules):
        self.name, self.namespace, self.address, self.gateway = text.split("=")
        self.aor = "sip:%s@%s" % (self.name, domain)
        self.family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.folder = os.path.join(work, "phone-" + self.name)
        self.pending = b""
        self.response = None
        self.events = []
        os.makedirs(self.folder, exist_ok=True)
        tls = transport == "tls"
        with open(os.path.join(self.folder, "config"), "w") as config:
            config.write(CONFIG.format(name=self.name, address=in_uri(self.address), modules=modules,
                                       extra="sip_cafile %s/ca/sip-ca.pem" % work if tls else ""))
        with open(os.path.join(self.folder, "accounts"), "w") as accounts:
            port = ":5061" if tls else ""
            # Over a connection the phone binds its flow (RFC 5626).
            flow = "" if transport == "udp" else ";sipnat=outbound"
            accounts.write('"%s" <%s;transport=%s>;outbound="sip:%s%s;transport=%s";regint=600;auth_pass=lamp-%s-73;answermode=manual%s\n'
                           % (self.name, self.aor, transport, in_uri(self.gateway), port, transport, self.name, flow))
        open(os.path.join(self.folder, "contacts"), "w").close()
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.sniffer = in_namespace(self.namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(
            0x86DD if self.family == socket.AF_INET6 else 0x0800)))
        self.sniffer.setblocking(False)
        self.process = subprocess.Popen(["ip", "netns", "exec", self.namespace, "baresip", "-s", "-f", self.folder,
                                         "-6" if self.family == socket.AF_INET6 else "-4"], stdin=subprocess.PIPE,
                                        stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + GIVE_UP
        while True:
            self.control = in_namespace(self.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            try:
                self.control.connect(("127.0.0.1", 4444))
                break
            except ConnectionRefusedError:
                self.control.close()
                if time.monotonic() > deadline or self.process.poll() is not None:
                    fail("the phone of %s does not start" % self.name)
                select.select([], [], [], 0.02)

    def command(self, command, parameters=""):
        text = json.dumps({"command": command, "params": parameters}).encode()
        self.control.sendall(b"%d:%s," % (len(text), text))

    def read_events(self):
        length, colon, rest = self.pending.partition(b":")
        while colon and len(rest) > int(length):
            message = json.loads(rest[:int(length)].decode(errors="replace"))
            self.pending = rest[int(length) + 1:]
            if message.get("event"):
                self.events.append(message)
            else:
                self.response = message.get("data", "")
            length, colon, rest = self.pending.partition(b":")

    def wait(self, *types):
        """The next event of one of these types; older ones are forgotten."""
        deadline = time.monotonic() + GIVE_UP
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["type"] in types:
                    return event
                if "FAIL" in event["type"]:
                    self.fail("%s: %s" % (event["type"], event.get("param")))
            self.receive(deadline, "no %s" % " or ".join(types))

    def receive(self, deadline, what):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.control], [], [], left)[0]:
            self.fail(what)
        data = self.control.recv(65536)
        if not data:
            self.fail("has ended")
        self.pending += data
        self.read_events()

    def wait_registered(self):
        """The event may have come before anybody listened."""
        deadline = time.monotonic() + GIVE_UP
        while True:
            self.response = None
            self.command("reginfo")
            while self.response is None:
                self.receive(deadline, "does not tell whether it is registered")
            if "OK" in self.response:
                return
            if time.monotonic() > deadline or "ERR" in self.response:
                self.fail("is not registered: " + self.response)
            select.select([self.control], [], [], 0.1)

    def fail(self, text):
        self.log.flush()
        with open(os.path.join(self.folder, "log")) as log:
            print("".join(line for line in log.readlines() if line.strip())[-3000:])
        fail("the phone of %s: %s" % (self.name, text))

    def hears(self, other):
        """Waits until audio of `other` arrives: 25 RTP packets with changing contents."""
        source, contents, count = socket.inet_pton(other.family, other.address), set(), 0
        deadline = time.monotonic() + GIVE_UP
        while count < 25 or len(contents) < 4:  # 440 Hz repeats every 100 ms
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sniffer], [], [], left)[0]:
                self.fail("hears nothing from %s" % other.name)
            packet = self.sniffer.recv(2048)
            header, protocol, sender = (40, packet[6], packet[8:24]) if packet[0] >> 4 == 6 else ((packet[0] & 15) * 4, packet[9], packet[12:16])
            payload = packet[header + 8 + 12:]
            if protocol == 17 and sender == source and len(payload) == 160 and packet[header + 8] >> 6 == 2:
                count += 1
                contents.add(payload)

    def forget_audio(self):
        try:
            while True:
                self.sniffer.recv(2048)
        except BlockingIOError:
            pass

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.control.close()


def talk(one, other):
    for phone in (one, other):
        phone.forget_audio()
    one.hears(other)
    other.hears(one)


def call(caller, callee):
    caller.command("dial", callee.aor)
    callee.wait("CALL_INCOMING")
    caller.wait("CALL_RINGING")
    callee.command("accept")
    callee.wait("CALL_ESTABLISHED")
    caller.wait("CALL_ESTABLISHED")
    talk(caller, callee)


def hang_up(one, other):
    one.command("hangup")
    one.wait("CALL_CLOSED")
    other.wait("CALL_CLOSED")


def main():
    mode, transport, domain, work = sys.argv[1:5]
    modules = next((path for path in ("/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules",
                                      "/usr/lib/aarch64-linux-gnu/baresip/modules") if os.path.isdir(path)), None)
    if not modules:
        print("SKIP: the modules of baresip are missing (package baresip-core)")
        sys.exit(77)
    phones = []
    try:
        phones = [Phone(text, mode, transport, domain, work, modules) for text in sys.argv[5:]]
        for phone in phones:
            phone.wait_registered()
        alice, bob, carol = phones
        what = "%s over %s" % (mode, transport)
        call(alice, bob)
        hang_up(bob, alice)
        print("ok: %s: a call between two sites, audio both ways, ended by the callee" % what)
        call(bob, alice)
        hang_up(bob, alice)
        print("ok: %s: a call the other way round, ended by the caller" % what)
        alice.command("dial", bob.aor)
        bob.wait("CALL_INCOMING")
        alice.wait("CALL_RINGING")
        hang_up(alice, bob)
        print("ok: %s: a call cancelled while it rings" % what)
        alice.command("dial", bob.aor)
        bob.wait("CALL_INCOMING")
        hang_up(bob, alice)
        print("ok: %s: a call declined" % what)
        call(alice, bob)
        bob.command("transfer", carol.aor)
        carol.wait("CALL_INCOMING")
        carol.command("accept")
        carol.wait("CALL_ESTABLISHED")
        talk(alice, carol)
        print("ok: %s: a call transferred" % what)
        carol.command("hangup")
        alice.wait("CALL_CLOSED")
    finally:
        for phone in phones:
            phone.end()


main()
