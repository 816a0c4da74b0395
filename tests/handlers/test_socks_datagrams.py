"""SOCKS 5's UDP ASSOCIATE: the talk, the relay, and what may go wrong with either."""

import errno
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.flow import reason
from tesla_trace.handlers._socks_relay import EARLY, ENOUGH, LINGER, Associate
from tesla_trace.handlers.http import Http
from tesla_trace.handlers.socks import Socks
from tesla_trace.testing.playbook import Playbook, app, net, nets, wait

PROXY, PEER, RELAY = ("10.0.0.9", 1080), ("192.0.2.1", 53), ("10.0.0.10", 4000)
HELLO, HELLO_OK = b"\x05\x01\x00", b"\x05\x00"
ASK = b"\x05\x03\x00\x01" + bytes(6)
ASK6 = b"\x05\x03\x00\x04" + bytes(18)
FROM_PEER = b"\0\0\0\x01\xc0\0\x02\x01\x00\x35"
ASKING, WAY = nets[1], nets[2]
DGRAM = socket.SOCK_DGRAM


def granted(host, port):
    number = ipaddress.ip_address(host)
    form = b"\1" if number.version == 4 else b"\4"
    return b"\5\0\0" + form + number.packed + port.to_bytes(2, "big")


class Play(Playbook):
    """A flow of datagrams through socks; `Associate` is not one of the installed handlers."""

    def __init__(self, *words, **facts):
        facts = {"type": DGRAM, **facts}
        super().__init__(_Named, "-proxy=10.0.0.9:1080", *words, **facts)
        self.below.answers["getsockname"] = ("0.0.0.0", 5000)
        self.answers["getpeername"] = PROXY


class _Named(Associate):
    Options = Socks.Options


def asked(play, first=b"one", to=PEER):
    """Write a first datagram, which has the proxy asked for a relay."""
    play >> app.write(first, to) << net.getsockname() << ASKING.connect(PROXY)
    return play >> ASKING.connected() << ASKING.write(HELLO)


def opened(play, relay=RELAY, first=b"one", packet=FROM_PEER + b"one"):
    """The same, to the end of the talk."""
    asked(play, first) >> ASKING.avail(HELLO_OK) << ASKING.getpeername() << ASKING.write(ASK)
    play >> ASKING.avail(granted(*relay)) << WAY.connect(relay)
    if packet:
        play << WAY.write(packet)
    return play


@pytest.fixture
def socks():
    made = []

    def make(*words, **facts):
        made.append(Play(*words, **facts))
        return made[-1]

    yield make
    for play in made:
        play.done()


# ---- the relay ----


@pytest.mark.parametrize(
    ("to", "head"),
    [
        (PEER, FROM_PEER),
        (("::ffff:192.0.2.1", 53, 0, 0), FROM_PEER),
        (("2001:db8::1", 443, 0, 0), b"\0\0\0\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x01\xbb"),
        (("example.org", 443), b"\0\0\0\x03\x0bexample.org\x01\xbb"),
    ],
)
def test_a_datagram_goes_with_its_address(socks, to, head):
    play = opened(socks()) >> app.write(b"data", to) << WAY.write(head + b"data")
    play >> app.write(b"", to) << WAY.write(head)


@pytest.mark.parametrize(
    ("head", "origin"),
    [
        (FROM_PEER, PEER),
        (b"\0\0\0\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x01\xbb", ("2001:db8::1", 443)),
    ],
)
def test_a_datagram_comes_with_its_address(socks, head, origin):
    play = opened(socks()) >> WAY.avail(head + b"data", RELAY) << app.avail(b"data", origin)
    play >> WAY.avail(head, RELAY) << app.avail(b"", origin)


def test_what_comes_from_a_number_is_from_the_name_that_was_asked(socks):
    play = opened(socks()) >> app.write(b"q", ("example.org", 443))
    play << WAY.write(b"\0\0\0\x03\x0bexample.org\x01\xbbq")
    play >> WAY.avail(b"\0\0\0\x01\xc0\0\x02\x09\x01\xbba") << app.avail(b"a", ("example.org", 443))
    play >> WAY.avail(FROM_PEER + b"b") << app.avail(b"b", PEER)  # which was asked by number
    play >> WAY.avail(b"\0\0\0\x03\x0bexample.org\x01\xbbc")
    play << app.avail(b"c", ("example.org", 443))


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\0\0\0\x01",
        b"\0\0\1" + FROM_PEER[3:] + b"a fragment",
        FROM_PEER[:-1],
        b"\0\0\0\x02" + FROM_PEER[4:],
        b"\0\0\0\x03\xffshort",
        b"\0\0\0\x03\x04evil\0\x35a name that nobody asked",
        b"\0\0\0\x03\x00\0\x35",
    ],
)
def test_what_makes_no_sense_is_dropped(socks, packet):
    opened(socks()) >> WAY.avail(packet) << None


@given(packet=st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"\0\0\0" + rest))
def test_whatever_a_relay_says_is_survived(packet):
    play = opened(Play())
    play >> WAY.avail(packet)
    for line in play._reactions:
        origin = line.args[-1]
        assert line.what == "avail" and ipaddress.ip_address(origin[0])
    play._reactions.clear()
    play.done()


def test_what_does_not_come_from_the_relay_is_dropped(socks):
    play = opened(socks()) >> net.avail(FROM_PEER + b"forged", PEER) << None
    play >> ASKING.avail(FROM_PEER) << None


def test_with_a_peer_only_what_comes_from_it_is_wanted(socks):
    play = socks(target=PEER) >> app.connect(PEER) << net.connect(PEER)
    play >> app.write(b"one") << net.getsockname() << ASKING.connect(PROXY)
    (
        play
        >> ASKING.connected()
        << ASKING.write(HELLO)
        >> ASKING.avail(HELLO_OK)
        << ASKING.getpeername()
        << ASKING.write(ASK)
    )
    play >> ASKING.avail(granted(*RELAY)) << WAY.connect(RELAY) << WAY.write(FROM_PEER + b"one")
    play >> WAY.avail(b"\0\0\0\x01\xc0\0\x02\x01\x00\x36other") << None
    play >> WAY.avail(FROM_PEER + b"answer") << app.avail(b"answer", PEER)


@pytest.mark.parametrize(
    ("said", "proxy", "relay", "domain"),
    [
        (("10.0.0.10", 4000), None, ("10.0.0.10", 4000), socket.AF_INET),
        (("0.0.0.0", 4000), ("10.0.0.9", 1080), ("10.0.0.9", 4000), socket.AF_INET),
        (("::", 4000), ("10.0.0.9", 1080), ("10.0.0.9", 4000), socket.AF_INET),
        (("0.0.0.0", 4000), ("2001:db8::9", 1080), ("2001:db8::9", 4000), socket.AF_INET6),
        (("0.0.0.0", 4000), ("::ffff:10.0.0.9", 1080), ("10.0.0.9", 4000), socket.AF_INET),
        (("2001:db8::a", 4000), None, ("2001:db8::a", 4000), socket.AF_INET6),
        (("::ffff:10.0.0.10", 4000), None, ("10.0.0.10", 4000), socket.AF_INET),
    ],
)
def test_where_the_relay_is(socks, said, proxy, relay, domain):
    play = socks()
    play.answers["getpeername"] = proxy or PROXY
    asked(play) >> ASKING.avail(HELLO_OK) << ASKING.getpeername()
    play << ASKING.write(ASK6 if proxy and proxy[0] == "2001:db8::9" else ASK)
    play >> ASKING.avail(granted(*said))
    if proxy:
        play << ASKING.getpeername()
    play << WAY.connect(relay) << WAY.write(FROM_PEER + b"one")
    assert play.kinds == [(socket.AF_INET, DGRAM), (socket.AF_INET, 1), (domain, DGRAM)]


def test_a_relay_given_by_name_is_where_the_proxy_is(socks):
    play = asked(socks()) >> ASKING.avail(HELLO_OK) << ASKING.getpeername() << ASKING.write(ASK)
    play >> ASKING.avail(b"\5\0\0\3\5proxy\x0f\xa0") << ASKING.getpeername()
    play << WAY.connect(("10.0.0.9", 4000)) << WAY.write(FROM_PEER + b"one")


# ---- early datagrams ----


def test_what_is_written_early_goes_when_there_is_a_relay(socks):
    play = asked(socks()) >> app.write(b"two", PEER) << None
    (
        play
        >> ASKING.avail(HELLO_OK)
        << ASKING.getpeername()
        << ASKING.write(ASK)
        >> app.write(b"three", PEER)
        << None
    )
    play >> ASKING.avail(granted(*RELAY)) << WAY.connect(RELAY)
    for data in (b"one", b"two", b"three"):
        play << WAY.write(FROM_PEER + data)


def test_only_so_many_are_kept(socks):
    play = asked(socks(), b"0")
    for number in range(1, ENOUGH):
        assert (play >> app.write(b"%d" % number, PEER)).result
    play >> wait(0) << app.may_write(False)
    for number in range(ENOUGH, 2 * EARLY):
        assert (play >> app.write(b"%d" % number, PEER)).result
    play >> ASKING.avail(HELLO_OK) << ASKING.getpeername() << ASKING.write(ASK)
    play >> ASKING.avail(granted(*RELAY)) << WAY.connect(RELAY)
    for number in range(EARLY):
        play << WAY.write(FROM_PEER + b"%d" % number)
    play << app.may_write(True)


def test_one_that_is_too_large_for_the_relay_is_told(socks):
    def too_large(data, to=None):
        raise OSError(errno.EMSGSIZE, "Message too long")

    play = opened(socks())
    play.flows[2].write = too_large
    with pytest.raises(OSError) as error:
        play >> app.write(bytes(65507), PEER)
    assert error.value.errno == errno.EMSGSIZE


# ---- the talk ----


def test_log_in(socks, tmp_path):
    (tmp_path / "password").write_text("sesame")
    play = socks("-user=me", f"-password-file={tmp_path}/password")
    play >> app.write(b"one", PEER) << net.getsockname() << ASKING.connect(PROXY)
    play >> ASKING.connected() << ASKING.write(b"\x05\x02\x00\x02") >> ASKING.avail(b"\x05\x02")
    (
        play
        << ASKING.write(b"\x01\x02me\x06sesame")
        >> ASKING.avail(b"\1\0")
        << ASKING.getpeername()
        << ASKING.write(ASK)
    )
    for byte in granted(*RELAY)[:-1]:
        play >> ASKING.avail(bytes([byte])) << None
    play >> ASKING.avail(granted(*RELAY)[-1:]) << WAY.connect(RELAY)
    play << WAY.write(FROM_PEER + b"one")


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (b"\5\7\0\1" + bytes(6), errno.EOPNOTSUPP),
        (b"\5\2\0\1" + bytes(6), errno.EACCES),
        (b"HTTP", errno.EPROTO),
    ],
)
def test_a_refusal_is_told_and_the_next_datagram_asks_again(socks, answer, number):
    play = asked(socks()) >> ASKING.avail(HELLO_OK) << ASKING.getpeername() << ASKING.write(ASK)
    errors = []
    play.above.undelivered = lambda source, error: errors.append(error)
    play >> ASKING.avail(answer) << ASKING.close()
    assert [error.errno for error in errors] == [number]
    assert reason(errors[0]).startswith("+socks 10.0.0.9:1080: ")
    play >> app.write(b"two", PEER) << net.getsockname() << nets[2].connect(PROXY)
    play >> app.abort() << net.abort() << nets[2].abort()


def test_a_proxy_out_of_reach(socks):
    play = socks() >> app.write(b"one", PEER) << net.getsockname() << ASKING.connect(PROXY)
    play >> ASKING.connected(OSError(errno.ECONNREFUSED, "Connection refused")) << ASKING.close()
    play << app.undelivered(errno.ECONNREFUSED)


def test_a_proxy_that_cannot_even_be_asked(socks):
    play = socks()
    plumb = play.handler.ctx.plumb

    def full(domain, type):
        flow = plumb(domain, type)
        flow.connect = unreachable
        return flow

    def unreachable(address):
        raise OSError(errno.ENETUNREACH, "no way")

    play.handler.ctx = play.handler.ctx.replace(plumb=full)
    for _ in range(2):
        with pytest.raises(OSError) as error:
            play >> app.write(b"one", PEER)
        assert error.value.errno == errno.ENETUNREACH
        assert [line.what for line in play._reactions] == ["getsockname", "close"]
        play._reactions.clear()


def test_silence(socks):
    asked(socks()) >> wait(31) << ASKING.close() << app.undelivered(errno.ETIMEDOUT)


@pytest.mark.parametrize("end", [ASKING.ended(), ASKING.ended(OSError(errno.ECONNRESET, ""))])
def test_when_the_talk_is_lost_the_proxy_is_asked_again(socks, end):
    play = opened(socks()) >> end << ASKING.close() << WAY.close()
    play >> app.write(b"two", PEER) << net.getsockname() << nets[3].connect(PROXY)
    play >> nets[3].connected() << nets[3].write(HELLO)
    play >> nets[3].avail(HELLO_OK) << nets[3].getpeername() << nets[3].write(ASK)
    play >> nets[3].avail(granted("10.0.0.10", 4001)) << nets[4].connect(("10.0.0.10", 4001))
    play << nets[4].write(FROM_PEER + b"two") >> nets[4].avail(FROM_PEER) << app.avail(b"", PEER)


def test_a_relay_that_is_not_there_any_more_is_asked_for_again(socks):
    play = opened(socks()) >> WAY.undelivered(OSError(errno.ECONNREFUSED, ""))
    play << ASKING.close() << WAY.close() << app.undelivered(errno.ECONNREFUSED)
    play >> app.write(b"two", PEER) << net.getsockname() << nets[3].connect(PROXY)


def test_closing_closes_all_once_the_last_datagram_has_had_its_time(socks):
    play = opened(socks()) >> app.close() << net.close() >> wait(LINGER - 0.01) << None
    play >> wait(0.02) << ASKING.close() << WAY.close()
    play = opened(socks()) >> wait(1) >> app.close() << net.close() << ASKING.close() << WAY.close()
    play >> app.abort() << net.abort()


def test_aborting_aborts_all(socks):
    play = opened(socks()) >> app.abort() << net.abort() << ASKING.abort() << WAY.abort()
    play >> wait(10) << None


def test_closed_during_the_talk_what_was_written_still_goes(socks):
    play = asked(socks()) >> app.close() << net.close() >> ASKING.avail(HELLO_OK)
    (
        play
        << ASKING.getpeername()
        << ASKING.write(ASK)
        >> ASKING.avail(granted(*RELAY))
        << WAY.connect(RELAY)
    )
    play << WAY.write(FROM_PEER + b"one") >> WAY.avail(FROM_PEER + b"nobody hears") << None
    play >> wait(LINGER) << ASKING.close() << WAY.close()


def test_closed_during_a_talk_that_comes_to_nothing(socks):
    asked(socks()) >> app.close() << net.close() >> ASKING.avail(b"HT") << ASKING.close()


def test_aborted_during_the_talk(socks):
    asked(socks()) >> app.close() << net.close() >> app.abort() << net.abort() << ASKING.abort()


# ---- the flow around it ----


def test_version_4_has_no_datagrams(socks):
    play = socks("-version=4")
    with pytest.raises(OSError) as error:
        play >> app.write(b"x", PEER)
    assert error.value.errno == errno.ENETUNREACH
    play >> app.write(b"x", ("127.0.0.1", 9)) << net.write(b"x", ("127.0.0.1", 9))


def test_a_program_that_has_sent_has_a_port(socks):
    play = socks()
    play.below.answers["getsockname"] = ("0.0.0.0", 0)
    play >> app.write(b"x", PEER) << net.getsockname() << net.bind(("0.0.0.0", 0))
    play << ASKING.connect(PROXY)


def test_control_calls_are_about_the_programs_own_socket(socks):
    play = opened(socks()) >> app.getsockname() << net.getsockname()
    play >> app.getsockopt(1, 2, 4) << net.getsockopt(1, 2, 4)


def test_options_of_the_socket_are_the_relays_flow_too(socks):
    play = socks() >> app.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, b"abcd")
    play << net.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, b"abcd")
    (
        asked(play)
        >> ASKING.avail(HELLO_OK)
        << ASKING.getpeername()
        << ASKING.write(ASK)
        >> ASKING.avail(granted(*RELAY))
    )
    play << WAY.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, b"abcd")
    play << WAY.connect(RELAY) << WAY.write(FROM_PEER + b"one")
    play >> app.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, b"efgh")
    play << net.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, b"efgh")
    play << WAY.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, b"efgh")


def test_stops(socks):
    play = opened(socks()) >> WAY.may_write(False) << app.may_write(False)
    play >> net.may_write(False) >> WAY.may_write(True) << None
    play >> net.may_write(True) << app.may_write(True)
    play >> app.may_avail(False) << net.may_avail(False) << WAY.may_avail(False)
    play >> app.may_avail(True) << net.may_avail(True) << WAY.may_avail(True)


def test_a_stop_ends_with_the_relay(socks):
    play = opened(socks()) >> WAY.may_write(False) << app.may_write(False)
    play >> ASKING.ended() << ASKING.close() << WAY.close() << app.may_write(True)


def test_a_stop_holds_for_a_relay_to_come(socks):
    play = asked(socks()) >> app.may_avail(False) << net.may_avail(False)
    (
        play
        >> ASKING.avail(HELLO_OK)
        << ASKING.getpeername()
        << ASKING.write(ASK)
        >> ASKING.avail(granted(*RELAY))
    )
    play << WAY.connect(RELAY) << WAY.may_avail(False) << WAY.write(FROM_PEER + b"one")


def test_http_has_no_relay(play):
    handler = Http.serving(DGRAM)
    handler.Options = Http.Options
    http = play(handler, "-proxy=10.0.0.9:8080", type=DGRAM)
    with pytest.raises(OSError) as error:
        http >> app.write(b"x", PEER)
    assert error.value.errno == errno.ENETUNREACH
    http >> app.write(b"x", ("127.0.0.1", 9)) << net.write(b"x", ("127.0.0.1", 9))
