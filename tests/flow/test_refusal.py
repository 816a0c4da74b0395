"""What becomes of datagrams where a handler has no way for them."""

import errno
import socket

import pytest

from tesla_trace.flow import FlowHandler, Stack, reason
from tesla_trace.flow.refusal import Refusal
from tesla_trace.testing.network import Network
from tesla_trace.testing.playbook import HandClock, app, net

PEER = ("192.0.2.1", 53)


@pytest.fixture
def refusal(play):
    class Vault(Refusal):
        name = "vault"

        def __init__(self, ctx):
            super().__init__(ctx, "vault")

    return play(Vault, type=socket.SOCK_DGRAM)


def test_nothing_is_let_out(refusal):
    with pytest.raises(OSError) as error:
        refusal >> app.write(b"x", PEER)
    assert error.value.errno == errno.ENETUNREACH
    assert reason(error.value) == "+vault to 192.0.2.1:53: it carries no datagrams"


def test_nothing_is_let_in(refusal):
    assert (refusal >> net.avail(b"x", PEER)).result is True
    refusal << None


def test_the_way_to_an_address_can_be_asked_for(refusal):
    refusal >> app.connect(PEER) << net.connect(PEER)
    refusal >> app.getsockname() << net.getsockname()


def test_it_stands_for_an_exclusive_handler_of_streams():
    class Vault(FlowHandler):
        name = "vault"
        types = frozenset({socket.SOCK_STREAM})
        exclusive = True

    network = Network()
    for handlers, refused in (({"vault": Vault}, True), ({"vault": FlowHandler}, False)):
        plumb = Stack([("vault", None)], handlers).plumber(HandClock(), network.wire)
        assert isinstance(plumb(socket.AF_INET, socket.SOCK_DGRAM), Refusal) == refused
