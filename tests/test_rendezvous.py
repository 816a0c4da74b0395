"""Speaking to whoever is attached to a process."""

import os
import socket

import pytest

from tesla_trace.supervision import rendezvous


def test_nobody_is_there():
    with pytest.raises(rendezvous.Nobody, match=f"attached to {os.getpid()}"):
        rendezvous.ask(os.getpid(), rendezvous.DETACH)


def test_somebody_who_took_the_name_and_never_accepts():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as squatter:
        squatter.bind(rendezvous.address(os.getpid()))
        squatter.listen(0)
        with rendezvous.ask(os.getpid(), rendezvous.DETACH):  # all that there is room for
            with pytest.raises(rendezvous.Nobody):
                rendezvous.ask(os.getpid(), rendezvous.DETACH)
