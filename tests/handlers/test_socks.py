from errno import (
    EACCES,
    EAFNOSUPPORT,
    ECONNREFUSED,
    EHOSTUNREACH,
    EISCONN,
    ENETUNREACH,
    ENOTCONN,
    EOPNOTSUPP,
    EPROTO,
    ETIMEDOUT,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.flow import reason
from tesla_trace.flow.proxied import OPENED, WAY
from tesla_trace.handlers._socks import REFUSALS_4, REFUSALS_5
from tesla_trace.handlers.socks import Socks
from tesla_trace.testing.network import SERVER, Network
from tesla_trace.testing.playbook import Playbook, app, net, wait

PROXY = ("10.0.0.9", 1080)
PEER = ("93.184.216.34", 80)
HELLO, HELLO_OK = b"\x05\x01\x00", b"\x05\x00"
ASK = b"\x05\x01\x00\x01\x5d\xb8\xd8\x22\x00\x50"
ASK_OK = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
LOGIN = b"\x01\x02me\x06sesame"
OK_4 = b"\x00\x5a" + bytes(6)
IPV6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01"


@pytest.fixture(scope="module")
def password(tmp_path_factory):
    """The words for a user and his password."""
    path = tmp_path_factory.mktemp("socks") / "password"
    path.write_text("sesame\n")
    return ["-user=me", f"-password-file={path}"]


TALKS = {
    "5": ([], PEER, [(HELLO, HELLO_OK), (ASK, ASK_OK)]),
    "5, a name": (
        [],
        ("example.org", 443),
        [(HELLO, HELLO_OK), (b"\x05\x01\x00\x03\x0bexample.org\x01\xbb", ASK_OK)],
    ),
    "5, IPv6": (
        [],
        ("2001:db8::1", 443, 0, 0),
        [
            (HELLO, HELLO_OK),
            (b"\x05\x01\x00\x04" + IPV6 + b"\x01\xbb", b"\x05\x00\x00\x04" + bytes(18)),
        ],
    ),
    "5, IPv4 in IPv6": (
        [],
        ("::ffff:93.184.216.34", 80, 0, 0),
        [(HELLO, HELLO_OK), (ASK, ASK_OK)],
    ),
    "5, the proxy names itself": (
        [],
        PEER,
        [(HELLO, HELLO_OK), (ASK, b"\x05\x00\x00\x03\x05proxy\x04\x38")],
    ),
    "5, the proxy has no name": (
        [],
        PEER,
        [(HELLO, HELLO_OK), (ASK, b"\x05\x00\x00\x03\x00\x04\x38")],
    ),
    "5, password": (
        ["password"],
        PEER,
        [(b"\x05\x02\x00\x02", b"\x05\x02"), (LOGIN, b"\x01\x00"), (ASK, ASK_OK)],
    ),
    "5, password, with the other version in the answer": (
        ["password"],
        PEER,
        [(b"\x05\x02\x00\x02", b"\x05\x02"), (LOGIN, b"\x05\x00"), (ASK, ASK_OK)],
    ),
    "5, password not wanted": (
        ["password"],
        PEER,
        [(b"\x05\x02\x00\x02", b"\x05\x00"), (ASK, ASK_OK)],
    ),
    "4": (["-version=4"], PEER, [(b"\x04\x01\x00\x50\x5d\xb8\xd8\x22\x00", OK_4)]),
    "4, a user": (
        ["-version=4", "-user=me"],
        PEER,
        [(b"\x04\x01\x00\x50\x5d\xb8\xd8\x22me\x00", b"\x00\x5a\x00\x50\x5d\xb8\xd8\x22")],
    ),
    "4, IPv4 in IPv6": (
        ["-version=4"],
        ("::ffff:93.184.216.34", 80, 0, 0),
        [(b"\x04\x01\x00\x50\x5d\xb8\xd8\x22\x00", OK_4)],
    ),
    "4a, a number": (["-version=4a"], PEER, [(b"\x04\x01\x00\x50\x5d\xb8\xd8\x22\x00", OK_4)]),
    "4a, a name": (
        ["-version=4a", "-user=me"],
        ("example.org", 443),
        [(b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00example.org\x00", OK_4)],
    ),
}
"""Options, what the program asks for, and what is said and answered."""


def begun(words, target, password=()):
    """A flow whose connection to the proxy has just been made."""
    words = [each for word in words for each in (password if word == "password" else [word])]
    socks = Playbook(Socks, "-proxy=10.0.0.9:1080", *words)
    return socks >> app.connect(target) << net.connect(PROXY) >> net.connected()


def talk(name, password, size, behind=b""):
    """The whole talk, each answer in pieces of `size`, the last with more `behind` it."""
    words, target, script = TALKS[name]
    socks = begun(words, target, password)
    for number, (said, answer) in enumerate(script, 1):
        socks << net.write(said)
        pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
        if number == len(script):
            pieces[-1] += behind
        for piece in pieces[:-1]:
            socks >> net.avail(piece) << None
        assert (socks >> net.avail(pieces[-1])).result is True
    socks << app.connected()
    if behind:
        socks << app.avail(behind)
    socks << app.join()
    assert socks.handler.getpeername() == target
    socks.done()


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("name", TALKS)
def test_the_whole_talk_in_pieces_of_any_size(name, size, password):
    talk(name, password, size)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("name", TALKS)
def test_what_is_behind_the_last_answer_is_the_peers(name, size, password):
    talk(name, password, size, b"\x05\x00SSH-2.0")


def refusal(socks, answer):
    """The error of the program's connect after this answer."""
    errors = []
    socks.above.connected = lambda source, error=None: errors.append(error)
    assert (socks >> net.avail(answer)).result is False
    (error,) = errors
    assert socks.handler.write(b"x") is False
    socks.done()
    hop = "+socks 10.0.0.9:1080: "
    assert reason(error).startswith(hop)
    return error.errno, reason(error).removeprefix(hop)


def test_every_reply_of_socks_5_has_an_errno_and_words():
    for reply in range(1, 256):
        socks = begun([], PEER) << net.write(HELLO) >> net.avail(HELLO_OK) << net.write(ASK)
        number, words = REFUSALS_5.get(reply, (EPROTO, "nothing known"))
        told = refusal(socks, bytes([5, reply, 0, 0]))
        assert told == (number, f"the proxy says {reply}: {words}")


@pytest.mark.parametrize("version", ["4", "4a"])
def test_every_reply_of_socks_4_has_an_errno_and_words(version):
    for reply in {*range(256)} - {90}:
        socks = begun([f"-version={version}"], PEER) << net.write(TALKS["4"][2][0][0])
        number, words = REFUSALS_4.get(reply, (EPROTO, "nothing known"))
        told = refusal(socks, bytes([0, reply]) + bytes(6))
        assert told == (number, f"the proxy says {reply}: {words}")


def test_the_usual_replies():
    assert {reply: number for reply, (number, _) in REFUSALS_5.items()} == {
        1: ECONNREFUSED,
        2: EACCES,
        3: ENETUNREACH,
        4: EHOSTUNREACH,
        5: ECONNREFUSED,
        6: ETIMEDOUT,
        7: EOPNOTSUPP,
        8: EAFNOSUPPORT,
    }
    replies = {91: ECONNREFUSED, 92: EACCES, 93: EACCES}
    assert {reply: number for reply, (number, _) in REFUSALS_4.items()} == replies


@pytest.mark.parametrize(
    ("words", "answer", "number", "told"),
    [
        ([], b"\x05\xff", EACCES, "the proxy takes no login we can offer"),
        ([], b"\x05\x02", EACCES, "the proxy wants a user and a password"),
        ([], b"\x05\x01", EACCES, "the proxy wants login method 1"),
        (["password"], b"\x05\x01", EACCES, "the proxy wants login method 1"),
        (["password"], b"\x05\xff", EACCES, "the proxy takes no login we can offer"),
        ([], b"HT", EPROTO, "this is no SOCKS 5 proxy"),
        ([], b"\x00\x5b", EPROTO, "this is no SOCKS 5 proxy"),
        ([], b"\x04\x00", EPROTO, "this is no SOCKS 5 proxy"),
    ],
)
def test_no_agreement_on_how_to_log_in(words, answer, number, told, password):
    socks = begun(words, PEER, password)
    socks << net.write(b"\x05\x02\x00\x02" if words else HELLO)
    assert refusal(socks, answer) == (number, told)


@pytest.mark.parametrize(
    ("answer", "number", "told"),
    [
        (b"\x01\x01", EACCES, "the proxy does not take this user and password"),
        (b"\x01\xff", EACCES, "the proxy does not take this user and password"),
        (b"HT", EPROTO, "the proxy's answer to the password makes no sense"),
    ],
)
def test_a_wrong_password(answer, number, told, password):
    socks = begun(["password"], PEER, password) << net.write(b"\x05\x02\x00\x02")
    socks >> net.avail(b"\x05\x02") << net.write(LOGIN)
    assert refusal(socks, answer) == (number, told)


@pytest.mark.parametrize(
    ("version", "target", "told"),
    [
        (
            "4",
            ("example.org", 80),
            "SOCKS 4 has no room for names; -version=4a has",
        ),
        ("4", ("2001:db8::1", 80, 0, 0), "SOCKS 4 has no room for IPv6"),
        ("4a", ("2001:db8::1", 80, 0, 0), "SOCKS 4a has no room for IPv6"),
    ],
)
def test_what_version_4_has_no_room_for(version, target, told):
    socks = Playbook(Socks, "-proxy=10.0.0.9:1080", f"-version={version}")
    socks >> app.connect(target) << net.connect(PROXY)
    errors = []
    socks.above.connected = lambda source, error=None: errors.append(error)
    socks >> net.connected() << None
    assert [error.errno for error in errors] == [EAFNOSUPPORT] and told in str(errors[0])
    socks.done()


def test_version_4_is_known_by_its_null(play):
    socks = begun(["-version=4"], PEER) << net.write(TALKS["4"][2][0][0])
    assert refusal(socks, b"HTTP/1.1") == (EPROTO, "this is no SOCKS 4 proxy")


@given(
    version=st.sampled_from(["5", "4", "4a"]),
    pieces=st.lists(
        st.binary(min_size=1, max_size=8)
        | st.sampled_from([HELLO_OK, b"\x05\x02", b"\x01\x00", ASK_OK, OK_4, OK_4[:3]]),
        max_size=6,
    ),
)
def test_whatever_a_proxy_says_connect_is_over_at_most_once(version, pieces):
    socks = begun([f"-version={version}"], PEER)
    lines = []
    for piece in pieces:
        lines += [line.what for line in socks._reactions]
        socks._reactions.clear()
        if "join" in lines:
            break
        socks >> net.avail(piece)
    lines += [line.what for line in socks._reactions]
    assert lines.count("connected") <= 1
    socks._reactions.clear()
    socks.handler.close()


def test_in_a_row_the_first_is_reached_through_the_second():
    network = Network([1])
    near = ["+socks=proxy.example.org:1080"]
    far = ["+socks=192.0.2.9:1080"]
    client, server = network.pair(near + far, ["+socks-proxy", "+socks-proxy"])
    network.run()
    client.write(b"hello")
    network.run()
    assert client.log == ["connected"] and server.got == b"hello"
    assert client.getpeername() == SERVER
    far = client.control.control.control
    assert far.getpeername() == ("proxy.example.org", 1080)


# ---- the flow around the talk ----


@pytest.fixture
def socks(play):
    """A flow whose connection to the proxy has just been made."""
    return (
        play(Socks, "-proxy=10.0.0.9:1080")
        >> app.connect(PEER)
        << net.connect(PROXY)
        >> net.connected()
        << net.write(HELLO)
    )


def test_connect_goes_through_the_proxy(socks):
    socks >> net.avail(HELLO_OK) << net.write(ASK)
    socks >> net.avail(ASK_OK) << app.connected() << app.join()
    assert socks.handler.getpeername() == PEER


def test_there_is_no_peer_before_the_way_is_open(socks):
    with pytest.raises(OSError) as error:
        socks >> app.getpeername()
    assert error.value.errno == ENOTCONN
    socks >> app.close() << net.close()


def test_it_stays_until_the_application_takes_what_is_left_over(socks):
    socks >> app.may_avail(False) << None
    socks >> net.avail(HELLO_OK) << net.write(ASK)
    socks >> net.avail(ASK_OK + b"SSH") << net.may_avail(False) << app.connected()
    socks >> net.avail(b"-2.0") >> app.write(b"hello") << net.write(b"hello")
    socks >> app.may_avail(True) << None
    socks >> wait(0) << app.avail(b"SSH-2.0") << net.may_avail(True) << app.join()


def test_an_end_behind_what_is_left_over_comes_after_it(socks):
    socks >> app.may_avail(False) >> net.avail(HELLO_OK) << net.write(ASK)
    socks >> net.avail(ASK_OK + b"bye") << net.may_avail(False) << app.connected()
    socks >> net.ended() >> app.may_avail(True) << None
    socks >> wait(0) << app.avail(b"bye") << net.may_avail(True) << app.ended()


def test_refusal_is_the_errno_of_connect(socks):
    socks >> net.avail(HELLO_OK) << net.write(ASK)
    socks >> net.avail(b"\x05\x04\x00\x01") << app.connected(EHOSTUNREACH)
    socks >> net.avail(b"\x00" * 6) << None
    socks >> net.ended() << None
    assert (socks >> app.write(b"x")).result is False


def test_a_refusal_is_not_forgotten(socks):
    socks >> net.avail(b"\x05\xff") << app.connected(EACCES)
    with pytest.raises(OSError) as error:
        socks >> app.connect(PEER)
    assert error.value.errno == EISCONN


@pytest.mark.parametrize("answer", [b"HTTP", b"\x05\x63\x00\x01", b"\x05\x00\x00\x09"])
def test_an_answer_that_makes_no_sense(socks, answer):
    socks >> net.avail(HELLO_OK) << net.write(ASK) >> net.avail(answer) << app.connected(EPROTO)


def test_not_a_proxy_at_all(socks):
    socks >> net.avail(b"HTTP/1.0 400") << app.connected(EPROTO)


def test_it_cannot_be_shut_down_before_it_is_open(socks):
    with pytest.raises(OSError) as error:
        socks >> app.shutdown(False, True)
    assert error.value.errno == ENOTCONN
    socks >> app.close() << net.close()


def test_hanging_up_is_a_refusal(socks):
    socks >> net.ended() << app.connected(ECONNREFUSED)


def test_silence_times_out(socks):
    socks >> wait(29.9) << None >> wait(0.2) << app.connected(ETIMEDOUT)


def test_closing_early_is_silent(socks):
    socks >> app.close() << net.close()


def test_an_unreachable_proxy_is_an_unreachable_peer(play):
    socks = play(Socks, "-proxy=10.0.0.9:1080") >> app.connect(PEER) << net.connect(PROXY)
    socks >> net.connected(OSError(EHOSTUNREACH, "")) << app.connected(EHOSTUNREACH)


def test_an_accepted_flow_has_no_use_for_it(play):
    socks = play(Socks, accepted=True)
    assert socks.handler.aside
    socks >> app.getpeername() << net.getpeername()


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (b"\1\xc0\0\2\7\x13\x88", b"proxy 10.0.0.9:1080\nbound 192.0.2.7:5000\n"),
        (b"\3\x04a\nb\x1b\x13\x88", b"proxy 10.0.0.9:1080\nbound a?b?:5000\n"),
        (b"\1\0\0\0\0\0\0", b"proxy 10.0.0.9:1080\n"),
    ],
)
def test_a_program_that_knows_of_it_is_told_the_way(play, bound, said):
    socks = play(Socks, "-proxy=10.0.0.9:1080") >> app.connect(PEER) << net.connect(PROXY)
    told = []
    socks.handler.ctx.flow.events.tell = lambda event: told.append((event.kind, event.data))
    with pytest.raises(OSError) as error:
        socks >> app.ioctl(WAY, b"")
    assert error.value.errno == ENOTCONN
    socks >> net.connected() << net.write(HELLO) >> net.avail(HELLO_OK) << net.write(ASK)
    socks >> net.avail(b"\5\0\0" + bound) << app.connected() << app.join()
    assert told == [(OPENED, said)] and (socks >> app.ioctl(WAY, b"")).result == said


def test_a_program_is_told_that_there_is_no_proxy_in_the_way(play):
    socks = play(Socks) >> app.connect(("127.0.0.1", 80)) << net.connect(("127.0.0.1", 80))
    socks >> net.connected() << app.connected() << app.join()
    assert (socks >> app.ioctl(WAY, b"")).result == b"direct\n"
