"""The AF_UNIX socketpair that stands in for a program's datagram socket.

Facts, and what they mean for us:

- Of the AF_UNIX types that keep datagrams apart only SOCK_SEQPACKET tells one end that the other
  has been closed.  In a connected pair the sender's buffer is all that limits what waits.
- An empty datagram and the end look the same to recv(2).  With SO_PASSCRED the sender's process
  goes with every datagram, and not with the end.
- Whoever receives from it learns nothing of a datagram's source: that is the pair.  But a message
  may carry a descriptor, which recv(2) and read(2) drop, and our own recvmsg(2) gets.  So what a
  datagram's bytes do not say stands in a memfd that goes with it: its *label*.  The source that
  a socket met first needs none, and most sockets know only one.
- A message may be as large as the sender's buffer less 32 bytes: so the program's is made to take
  what UDP takes, and say EMSGSIZE to more; but its size is even, so that one byte more passes.
"""

from __future__ import annotations

import array
import fcntl
import socket
import termios
from contextlib import suppress

from tesla_trace.io.datagram import Ancillary
from tesla_trace.io.labels import LABELS, WAKE, Label, read_label
from tesla_trace.io.loop import Loop
from tesla_trace.io.pair import Pair

PAYLOAD: dict[int, int] = {socket.AF_INET: 65507, socket.AF_INET6: 65527}
"""Bytes that a datagram has at the most: 64 KiB less the headers (udp(7), ipv6(7))."""

_SENDER = socket.CMSG_SPACE(12)
"""Room for struct ucred."""

_buffer = bytearray(2**17)
_view = memoryview(_buffer)


class DatagramPair(Pair):
    """A pair whose messages are datagrams; see `Pair`."""

    TYPE = socket.SOCK_SEQPACKET

    def __init__(self, loop: Loop, domain: int) -> None:
        super().__init__(loop)
        assert self.app is not None
        size = PAYLOAD[domain] + 33
        self.app.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size // 2)
        self.master.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sent = 0
        """How many datagrams have been put before the program."""
        self._usual: Label | None = None

    def send(self, data: bytes, label: Label) -> bool:
        """Put a datagram before the program.

        Returns:
            False if there is no room now.

        Raises:
            OSError: it cannot be delivered at all.
        """
        if self._usual is None and label != WAKE:
            self._usual = label
        try:
            if label == self._usual:
                self.master.send(data, socket.MSG_NOSIGNAL)
            else:
                rights = array.array("i", [LABELS.file(label)])
                kind = (socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)
                self.master.sendmsg([data], [kind], socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        self.sent += 1
        return True

    def receive(self) -> bytes | None:
        """What the program sent next; None once it has closed its end, and all is read.

        Raises:
            BlockingIOError: there is nothing.
        """
        size, sender, _, _ = self.master.recvmsg_into([_buffer], _SENDER)
        return bytes(_view[:size]) if sender else None

    def discard(self) -> None:
        """Throw away what was sent when it could go nowhere."""
        with suppress(OSError):
            while self.receive() is not None:
                pass

    def label(self, ancillary: Ancillary) -> Label:
        """What goes with a message that was received from the program's end by recvmsg(2)."""
        return read_label(ancillary, self._usual or WAKE)

    def unread(self) -> bool:
        """Whether something that we sent has not been received yet."""
        return any(fcntl.ioctl(self.master, termios.TIOCOUTQ, bytes(4)))
