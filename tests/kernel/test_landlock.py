import errno
import os
import socket

import pytest

from tesla_trace.kernel import landlock
from tests.kernel.child import child


@pytest.fixture
def rules():
    try:
        made = landlock.no_connects()
    except OSError as wrong:
        pytest.skip(f"needs Landlock for TCP: {wrong}")
    yield made
    os.close(made)


def test_tcp_cannot_be_connected_and_all_else_can(rules):
    with socket.create_server(("127.0.0.1", 0)) as there, socket.socket(socket.AF_UNIX) as here:
        here.bind("")
        here.listen()

        def do(say):
            with socket.create_connection(there.getsockname()) as before:
                landlock.restrict(rules)
                with socket.socket() as late:
                    say(late.connect_ex(there.getsockname()))
                with socket.socket(socket.AF_UNIX) as unix:
                    say(unix.connect_ex(here.getsockname()))
                with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
                    say(datagrams.connect_ex(there.getsockname()))
                say(before.send(b"what is connected stays so"))

        with child(do) as other:
            assert other.says() == str(errno.EACCES)
            assert [other.says() for _ in range(3)] == ["0", "0", "26"]


def test_they_are_not_inherited(rules):
    assert not os.get_inheritable(rules)
