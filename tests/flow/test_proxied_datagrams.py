"""Which datagrams go through a proxy, around it, or nowhere."""

import errno
import socket

import pytest

from tesla_trace.flow import ProxiedDatagrams, reason
from tesla_trace.testing.playbook import app, net

PEER, NEAR = ("192.0.2.1", 9), ("127.0.0.1", 9)


class Gate(ProxiedDatagrams):
    """Relays by writing down."""

    name = "gate"

    def __init__(self, ctx):
        super().__init__(ctx)
        self.relays = []

    def relay(self, data, target):
        self.relays.append((data, target))
        return True


class Shut(ProxiedDatagrams):
    """Has no relay."""

    name = "shut"


@pytest.fixture
def gate(play):
    return lambda *words, **facts: play(
        Gate, "-proxy=10.0.0.9:1080", *words, type=socket.SOCK_DGRAM, **facts
    )


@pytest.mark.parametrize("to", [NEAR, ("::1", 9, 0, 0), ("::ffff:127.0.0.1", 9, 0, 0)])
def test_loopback_is_reached_directly(gate, to):
    play = gate() >> app.write(b"x", to) << net.write(b"x", to)
    play >> net.avail(b"y", to) << app.avail(b"y", to)
    assert play.handler.relays == []


@pytest.mark.parametrize("to", [PEER, ("example.org", 9), ("127.0.0.53", 53), ("::1", 53, 0, 0)])
def test_all_else_goes_through_and_so_does_dns_on_loopback(gate, to):
    play = gate() >> app.write(b"x", to) << None
    assert play.handler.relays == [(b"x", to)]
    play >> net.avail(b"y", to) << None  # what comes past the proxy is not wanted


def test_loopback_goes_through_where_that_is_wanted(gate):
    play = gate("-loopback") >> app.write(b"x", NEAR) << None
    assert play.handler.relays == [(b"x", NEAR)]
    play >> net.avail(b"y", NEAR) << None


def test_a_chosen_peer(gate):
    play = gate(target=NEAR) >> app.connect(NEAR) << net.connect(NEAR)
    play >> net.connected() << app.connected()
    play >> app.write(b"x") << net.write(b"x") >> net.avail(b"y", NEAR) << app.avail(b"y", NEAR)
    play >> app.getsockname() << net.getsockname()


def test_the_kernel_is_told_of_a_peer_that_it_does_not_lead_to(gate):
    """For getaddrinfo(3), which asks which of our addresses would be used."""
    play = gate(target=PEER) >> app.connect(PEER) << net.connect(PEER)
    play >> app.write(b"x") << None
    assert play.handler.relays == [(b"x", PEER)]

    def unreachable(address):
        raise OSError(errno.ENETUNREACH, "no way")

    play.below.connect = unreachable
    play >> app.connect(PEER) << None
    play.handler.ctx.flow.target = NEAR
    with pytest.raises(OSError):
        play >> app.connect(NEAR)


def test_a_relay_on_loopback_that_another_proxy_leads_to_is_not_near(gate):
    play = gate(target=PEER) >> app.connect(NEAR) << net.connect(NEAR)
    play >> app.write(b"x") << None
    assert play.handler.relays == [(b"x", NEAR)]
    play >> net.avail(b"y", NEAR) << None


@pytest.mark.parametrize(
    ("to", "number"),
    [
        (("224.0.0.251", 5353), errno.ENETUNREACH),
        (("ff02::fb", 5353, 0, 0), errno.ENETUNREACH),
        (("255.255.255.255", 67), errno.ENETUNREACH),
        (("a b", 1), errno.EINVAL),
        (("x" * 254, 1), errno.EINVAL),
    ],
)
def test_what_no_proxy_leads_to(gate, to, number):
    play = gate()
    with pytest.raises(OSError) as error:
        play >> app.write(b"x", to)
    assert error.value.errno == number and play.handler.relays == []


def test_to_nobody(gate):
    with pytest.raises(OSError) as error:
        gate() >> app.write(b"x")
    assert error.value.errno == errno.EDESTADDRREQ


def test_without_a_relay_they_are_refused(play):
    shut = play(Shut, "-proxy=10.0.0.9:1080", type=socket.SOCK_DGRAM)
    with pytest.raises(OSError) as error:
        shut >> app.write(b"x", PEER)
    assert error.value.errno == errno.ENETUNREACH
    told = "+shut: 192.0.2.1:9: this proxy carries no datagrams"
    assert reason(error.value) == told
    shut >> app.write(b"x", NEAR) << net.write(b"x", NEAR)


def test_an_error_of_the_kernel_is_told(gate):
    play = gate(target=NEAR) >> app.connect(NEAR) << net.connect(NEAR)
    play >> net.undelivered(OSError(errno.ECONNREFUSED, "")) << app.undelivered(errno.ECONNREFUSED)
