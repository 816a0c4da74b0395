"""What a datagram's bytes do not say, in memfds that go with it through a pair."""

from __future__ import annotations

import array
import marshal
import os
import socket
from collections import OrderedDict
from typing import NamedTuple

from tesla_trace.address import Address
from tesla_trace.io.datagram import Ancillary

KEPT = 256
"""Labels kept open, of all sockets, for the next datagram from the same source."""

_FD = array.array("i", [0]).itemsize

LABEL_SPACE = socket.CMSG_SPACE(_FD)
"""Room for a label among what recvmsg(2) is asked for."""


class Label(NamedTuple):
    """What a datagram's bytes do not say."""

    origin: Address | None
    """Where it comes from; None: from nowhere, it only wakes up who waits for an error."""
    ancillary: Ancillary = ()


WAKE = Label(None)


class Labels:
    """The memfds of the labels that were used last."""

    def __init__(self) -> None:
        self._files: OrderedDict[Label, int] = OrderedDict()

    def file(self, label: Label) -> int:
        """A memfd with what the label says; to be passed on at once.

        Raises:
            OSError: EMFILE, we have no descriptor left.
        """
        file = self._files.get(label)
        if file is not None:
            self._files.move_to_end(label)
            return file
        if len(self._files) == KEPT:
            os.close(self._files.popitem(last=False)[1])
        file = self._files[label] = os.memfd_create("label")
        os.write(file, marshal.dumps(tuple(label)))
        return file

    def close(self) -> None:
        """Keep none."""
        while self._files:
            os.close(self._files.popitem()[1])


LABELS = Labels()
"""Of all pairs, for many sockets hear of the same sources."""


def read_label(ancillary: Ancillary, usual: Label) -> Label:
    """What goes with a message that was received by recvmsg(2), and closes what came with it.

    Args:
        usual: what one without a label means.
    """
    found = usual
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            for file in array.array("i", data[: len(data) - len(data) % _FD]):
                # Nobody but us can have written it, for nobody else has the other end.
                found = Label(*marshal.loads(os.pread(file, 64 * 1024, 0)))
                os.close(file)
    return found
