# SPDX-License-Identifier: BSD-2-Clause
"""A SIP server over TLS for tests, which answers every request 200: tls_answer.py ADDRESS PORT CERTIFICATE KEY. It writes what it got."""
import socket
import ssl
import sys
import threading


def answer(request):
    lines = request.split("\r\n")
    print(lines[0], flush=True)
    kept = [line for line in lines if line.split(":")[0].lower() in ("via", "from", "to", "call-id", "cseq")]
    return "SIP/2.0 200 OK\r\n" + "\r\n".join(kept) + "\r\nContent-Length: 0\r\n\r\n"


def serve(connection):
    text = ""
    while True:
        data = connection.recv(65536)
        if not data:
            return
        text += data.decode()
        while "\r\n\r\n" in text:
            request, text = text.split("\r\n\r\n", 1)
            connection.sendall(answer(request).encode())


def secure(context, connection):
    try:
        with context.wrap_socket(connection, server_side=True) as secured:
            serve(secured)
    except (ssl.SSLError, OSError) as error:
        print("refused:", error, flush=True)


def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server = socket.create_server((sys.argv[1], int(sys.argv[2])))
    while True:
        connection, _ = server.accept()
        threading.Thread(target=secure, args=(context, connection), daemon=True).start()


main()
