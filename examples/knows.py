"""A client that knows of tesla_trace, and goes on without it.

python3 examples/knows.py 127.0.0.1 7
tesla_trace +dummy +log python3 examples/knows.py 127.0.0.1 7
"""

import socket
import sys

from tesla_trace import client


def look_at(sock):
    """Show what handlers there are, and talk to those that we know."""
    names = client.handlers(sock)
    if not names:
        print("no handlers")
    for name in names:
        print("handler", name)
    if "log" in names:
        client.ioctl(sock, "log", 1, b"now it gets interesting")
    if "dummy" in names:
        print("dummy answers", client.ioctl(sock, "dummy", 1, b"hello").decode())
        with client.events(sock) as events:
            client.ioctl(sock, "dummy", 2, b"tell me")
            event = client.event(events)
            print(f"{event.handler} tells {event.kind}: {event.data.decode()}")


def main(host, port):
    """Talk to an echo server."""
    with socket.create_connection((host, int(port))) as sock:
        look_at(sock)
        sock.sendall(b"ping\n")
        sock.shutdown(socket.SHUT_WR)
        print("the server says", sock.makefile().read(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
