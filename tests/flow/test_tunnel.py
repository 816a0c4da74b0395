"""What goes through the middleman, what goes around him, and what is said of him."""

from errno import ECONNREFUSED, EHOSTUNREACH, EINVAL, ETIMEDOUT

import pytest

from tesla_trace.flow import FlowHandler, Tunnel, UsageError, failure, parse, reason
from tesla_trace.flow.proxied import Proxied
from tesla_trace.testing.network import Network
from tesla_trace.testing.playbook import app, net, wait

MIDDLE = ("10.0.0.9", 1080)
PEER = ("192.0.2.1", 80)


class Gate(Proxied):
    """Asks for the target by name, and is told yes or no."""

    name = "gate"

    def ask_for(self, target):
        self.below.write(f"{target[0]}?".encode())
        if (yield 1) != b"y":
            raise failure(EHOSTUNREACH, "he says no")


@pytest.mark.parametrize(
    "address",
    [
        ("127.0.0.1", 80),
        ("127.8.9.10", 8080),
        ("::1", 80, 0, 0),
        ("::ffff:127.0.0.1", 80, 0, 0),
        ("0.0.0.0", 80),
        ("::", 80, 0, 0),
    ],
)
def test_loopback_is_reached_directly(play, address):
    gate = play(Gate, "-proxy=10.0.0.9:1080", target=address) >> app.connect(address)
    gate << net.connect(address) >> net.connected() << app.connected() << app.join()
    gate >> app.getpeername() << net.getpeername()


@pytest.mark.parametrize(
    "address",
    [
        PEER,
        ("localhost.example.org", 80),
        ("127.0.0.53", 53),
        ("::1", 53, 0, 0),
        ("0.0.0.0", 53),
    ],
)
def test_all_else_goes_through_and_so_does_dns_on_loopback(play, address):
    gate = play(Gate, "-proxy=10.0.0.9:1080", target=address) >> app.connect(address)
    gate << net.connect(MIDDLE) >> net.connected() << net.write(f"{address[0]}?".encode())
    gate >> net.avail(b"y") << app.connected() << app.join()
    assert (gate >> app.getpeername()).result == address


def test_loopback_goes_through_where_that_is_wanted(play):
    gate = play(Gate, "-proxy=10.0.0.9:1080", "-loopback") >> app.connect(("127.0.0.1", 80))
    gate << net.connect(MIDDLE) >> app.close() << net.close()


def test_a_direct_connect_that_fails_is_no_business_of_the_middleman(play):
    gate = play(Gate, "-proxy=10.0.0.9:1080") >> app.connect(("127.0.0.1", 80))
    gate << net.connect(("127.0.0.1", 80))
    said = []
    gate.above.connected = lambda source, error: said.append(error)
    error = OSError(ECONNREFUSED, "Connection refused")
    gate >> net.connected(error) << None
    assert said == [error]


def asked(words, address):
    """The addresses that each handler of a stack, and at last the network, is asked for."""
    heard = []

    class Ear(FlowHandler):
        name = "ear"

        def connect(self, address):
            heard.append(address)
            super().connect(address)

    network = Network(gate=Gate, ear=Ear)
    network.application(["+ear", *words, "+ear"]).connect(address)
    return heard


NEAR, FAR = ["+gate=127.0.0.1:1080"], ["+gate=10.0.0.9:1080"]


@pytest.mark.parametrize(
    ("words", "address", "reached"),
    [
        ([*NEAR, *FAR], PEER, MIDDLE),  # the near one is on loopback, but through the far one
        ([*FAR, *NEAR], PEER, ("127.0.0.1", 1080)),
        ([*NEAR, *FAR], ("127.0.0.1", 80), ("127.0.0.1", 80)),
        ([*FAR, *NEAR], ("127.0.0.1", 80), ("127.0.0.1", 80)),
        ([*NEAR, "-loopback", *FAR], ("127.0.0.1", 80), MIDDLE),
        ([*NEAR, *FAR, "-loopback"], ("127.0.0.1", 80), MIDDLE),
    ],
)
def test_in_a_chain_only_what_the_program_asked_for_is_reached_directly(words, address, reached):
    assert asked(words, address) == [address, reached]


def test_each_tunnel_of_a_chain_asks_for_the_next():
    class Ear(FlowHandler):
        """Between the two."""

        name = "ear"
        heard = []

        def connect(self, address):
            self.heard.append(address)
            super().connect(address)

    network = Network(gate=Gate, ear=Ear)
    network.application([*NEAR, "+ear", *FAR]).connect(PEER)
    assert Ear.heard == [("127.0.0.1", 1080)]


def errors(gate):
    said = []
    gate.above.connected = lambda source, error=None: said.append(error)
    return said


def test_a_refusal_names_the_hop_and_the_reason(play):
    gate = play(Gate, "-proxy=10.0.0.9:1080") >> app.connect(PEER) << net.connect(MIDDLE)
    said = errors(gate)
    gate >> net.connected() << net.write(b"192.0.2.1?") >> net.avail(b"n")
    assert [error.errno for error in said] == [EHOSTUNREACH]
    assert reason(said[0]) == "+gate 10.0.0.9:1080: he says no"


def test_a_middleman_out_of_reach_is_named(play):
    gate = play(Gate, "-proxy=10.0.0.9:1080") >> app.connect(PEER) << net.connect(MIDDLE)
    said = errors(gate)
    gate >> net.connected(OSError(ECONNREFUSED, "Connection refused"))
    assert said[0].errno == ECONNREFUSED
    assert reason(said[0]) == "+gate 10.0.0.9:1080: cannot be reached"


def test_a_silent_one_is_waited_for_as_long_as_the_user_says(play):
    gate = play(Gate, "-proxy=10.0.0.9:1080", "-timeout=1500ms") >> app.connect(PEER)
    gate << net.connect(MIDDLE) >> wait(99) << None
    gate >> net.connected() << net.write(b"192.0.2.1?")
    gate >> wait(1.4) << None >> wait(0.2) << app.connected(ETIMEDOUT)


@pytest.mark.parametrize(
    "name", ["", "a b", "a\r\nX: y", "hôte", "a\0b", "x" * 254, "fe80::zz", "a/b", "a:1"]
)
def test_what_cannot_be_a_name_is_not_said_to_a_proxy(play, name):
    gate = play(Gate, "-proxy=10.0.0.9:1080")
    with pytest.raises(OSError) as error:
        gate >> app.connect((name, 80))
    assert error.value.errno == EINVAL and "\n" not in str(error.value)


def test_nothing_may_bypass_a_tunnel():
    assert Tunnel.exclusive and not FlowHandler.exclusive


def test_the_proxy_must_be_named_where_there_is_no_usual_place():
    with pytest.raises(UsageError, match=r"\+gate: -proxy=HOST:PORT is missing"):
        parse(["+gate"], {"gate": Gate})


def test_a_password_without_a_user_is_a_mistake(tmp_path):
    (tmp_path / "password").write_text("sesame")
    with pytest.raises(UsageError) as error:
        parse(["+gate=a:1", f"-password-file={tmp_path}/password"], {"gate": Gate})
    assert str(error.value) == "+gate: -password-file is of no use without -user"


def test_a_login_is_sent_as_utf_8_or_as_it_was_typed():
    ((_, options),) = parse(["+gate=a:1", "-user=zoë\udcff"], {"gate": Gate})
    assert options.login == (b"zo\xc3\xab\xff", b"")
