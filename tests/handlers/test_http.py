import base64
from errno import (
    EACCES,
    ECONNREFUSED,
    EHOSTUNREACH,
    ENOTCONN,
    EOPNOTSUPP,
    EPROTO,
    ETIMEDOUT,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.flow import UsageError, parse, reason
from tesla_trace.handlers.http import MOST, Http
from tesla_trace.testing.network import SERVER, Network
from tesla_trace.testing.playbook import Playbook, app, net, wait

PROXY = ("10.0.0.9", 8080)
PEER = ("93.184.216.34", 80)
ASK = b"CONNECT 93.184.216.34:80 HTTP/1.1\r\nHost: 93.184.216.34:80\r\n\r\n"
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def begun(*words, target=PEER):
    """A flow whose connection to the proxy has just been made."""
    http = Playbook(Http, "-proxy=10.0.0.9:8080", *words)
    return http >> app.connect(target) << net.connect(PROXY) >> net.connected()


@pytest.fixture
def http(play):
    return (
        play(Http, "-proxy=10.0.0.9:8080")
        >> app.connect(PEER)
        << net.connect(PROXY)
        >> net.connected()
        << net.write(ASK)
    )


GOOD = {
    "plain": OK,
    "no reason": b"HTTP/1.1 200\r\n\r\n",
    "old": b"HTTP/1.0 200 Connection established\r\nProxy-Agent: squid\r\n\r\n",
    "another 2xx": b"HTTP/1.1 204 Well\r\n\r\n",
    "with lengths to be ignored": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "with a coding to be ignored": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "told to wait": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Still\r\nX: y\r\n\r\n" + OK,
    "bare newlines": b"HTTP/1.1 200 OK\nVia: 1.1 a\n\n",
}


@pytest.mark.parametrize("behind", [b"", b"\r\n", b"HTTP/1.1 500 No\r\n\r\n", b"\x00" * 99])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("name", GOOD)
def test_a_good_answer_in_pieces_and_what_is_behind_it_is_the_peers(http, name, size, behind):
    answer = GOOD[name]
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    for piece in pieces[:-1]:
        http >> net.avail(piece) << None
    http >> net.avail(pieces[-1] + behind) << app.connected()
    if behind:
        http << app.avail(behind)
    http << app.join()
    assert http.handler.getpeername() == PEER


@given(cuts=st.lists(st.integers(1, 30), min_size=1), behind=st.binary(max_size=20))
def test_cut_anywhere(cuts, behind):
    http = begun() << net.write(ASK)
    data = GOOD["told to wait"]
    while cuts and cuts[0] < len(data):
        http >> net.avail(data[: cuts[0]]) << None
        data = data[cuts.pop(0) :]
    http >> net.avail(data + behind) << app.connected()
    if behind:
        http << app.avail(behind)
    http << app.join()
    http.done()


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (("2001:db8::1", 443, 0, 0), b"[2001:db8::1]:443"),
        (("fe80::1%eth0", 80, 0, 2), b"[fe80::1]:80"),
        (("::ffff:93.184.216.34", 80, 0, 0), b"93.184.216.34:80"),
        (("example.org", 443), b"example.org:443"),
    ],
)
def test_how_the_target_is_written(target, place):
    http = begun(target=target)
    http << net.write(b"CONNECT " + place + b" HTTP/1.1\r\nHost: " + place + b"\r\n\r\n")
    http >> net.avail(OK) << app.connected() << app.join()
    assert http.handler.getpeername() == target
    http.done()


def test_user_and_password(tmp_path):
    (tmp_path / "password").write_text("open:sésame\n")
    http = begun("-user=me", f"-password-file={tmp_path}/password")
    login = base64.b64encode("me:open:sésame".encode())
    http << net.write(ASK[:-2] + b"Proxy-Authorization: Basic " + login + b"\r\n\r\n")
    http >> net.avail(OK) << app.connected() << app.join()
    http.done()


def test_a_user_without_a_password():
    http = begun("-user=me")
    http << net.write(ASK[:-2] + b"Proxy-Authorization: Basic bWU6\r\n\r\n")
    http >> app.close() << net.close()
    http.done()


# ---- refusals ----


def refusal(http, answer):
    """The error of the program's connect after this answer."""
    errors = []
    http.above.connected = lambda source, error=None: errors.append(error)
    assert (http >> net.avail(answer)).result is False
    (error,) = errors
    assert http.handler.write(b"x") is False
    http.done()
    hop = "+http 10.0.0.9:8080: "
    assert reason(error).startswith(hop)
    return error.errno, reason(error).removeprefix(hop)


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (300, EPROTO),
        (302, EPROTO),
        (400, ECONNREFUSED),
        (401, ECONNREFUSED),
        (403, EACCES),
        (404, EHOSTUNREACH),
        (405, EOPNOTSUPP),
        (407, EACCES),
        (408, ETIMEDOUT),
        (429, ECONNREFUSED),
        (499, ECONNREFUSED),
        (500, EHOSTUNREACH),
        (501, EOPNOTSUPP),
        (502, ECONNREFUSED),
        (503, EHOSTUNREACH),
        (504, ETIMEDOUT),
        (599, EHOSTUNREACH),
        (600, EPROTO),
    ],
)
def test_a_status_is_an_errno_and_the_log_has_its_line(status, number):
    http = begun() << net.write(ASK)
    answer = b"HTTP/1.1 %d Not so\r\nContent-Length: 5\r\n\r\nsorry" % status
    assert refusal(http, answer) == (number, f"the proxy says {status} Not so")


def test_a_status_without_words():
    http = begun() << net.write(ASK)
    assert refusal(http, b"HTTP/1.1 403\r\n\r\n") == (EACCES, "the proxy says 403")


def test_words_that_are_not_ascii_do_no_harm_to_the_log():
    http = begun() << net.write(ASK)
    told = refusal(http, b"HTTP/1.1 403 N\xc3\xa9\x9b\r\n\r\n")
    assert told == (EACCES, r"the proxy says 403 N\xc3\xa9\x9b")


@pytest.mark.parametrize(
    "answer",
    [
        b"\x05\xff\x00\x00\x00",
        b"SSH-2.0-OpenSSH\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"HTTP/x.y 200 OK\r\n\r\n",
        b"HTTP/1.1 twohundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MOST // 6),
        b"HTTP/1.1 200 " + b"x" * MOST,
    ],
    ids=lambda answer: answer[:30].decode("latin-1"),
)
def test_what_is_no_answer_or_too_long(answer):
    number, told = refusal(begun() << net.write(ASK), answer)
    assert number == EPROTO and told.isprintable() and len(told) < 200


@given(
    st.lists(
        st.binary(min_size=1, max_size=20)
        | st.sampled_from(
            [OK[:9], OK[9:], b"HTTP/1.1 100 x\r\n\r\n", b"\r\n", b"A: b\r\n", b" 20"]
        ),
        max_size=8,
    )
)
def test_whatever_a_proxy_says_connect_is_over_at_most_once(pieces):
    http = begun() << net.write(ASK)
    happened = []
    for piece in pieces:
        http >> net.avail(piece)
        happened += [line.what for line in http._reactions]
        http._reactions.clear()
        if "join" in happened:
            break
    assert happened.count("connected") <= 1
    http.handler.close()


# ---- the flow around the talk ----


def test_hanging_up_in_the_middle_of_the_head_is_a_refusal(http):
    http >> net.avail(OK[:-1]) << None >> net.ended() << app.connected(ECONNREFUSED)


def test_silence_times_out(http):
    http >> net.avail(OK[:-1]) >> wait(29.9) << None >> wait(0.2) << app.connected(ETIMEDOUT)


def test_closing_early_is_silent(http):
    http >> net.avail(OK[:20]) >> app.close() << net.close()


def test_there_is_no_peer_before_the_way_is_open(http):
    with pytest.raises(OSError) as error:
        http >> app.getpeername()
    assert error.value.errno == ENOTCONN
    http >> app.close() << net.close()


def test_an_accepted_flow_has_no_use_for_it(play):
    assert play(Http, accepted=True).handler.aside


def test_through_an_http_proxy_to_a_socks_proxy_to_the_peer():
    network = Network([1])
    words = ["+socks=192.0.2.8:1080", "+http=192.0.2.9:8080"]
    client, server = network.pair(words, ["+socks-proxy", "+http-proxy"])
    network.run()
    client.write(b"hello")
    network.run()
    assert client.log == ["connected"] and server.got == b"hello"
    assert client.getpeername() == SERVER


# ---- options ----


def test_the_first_option_is_the_proxy():
    ((_, options),) = parse(["+http=proxy:3128"], {"http": Http})
    assert options.proxy == ("proxy", 3128)
    ((_, options),) = parse(["+http"], {"http": Http})
    assert options.proxy == ("127.0.0.1", 8080) and options.timeout == 30


def test_a_user_has_no_colon():
    with pytest.raises(UsageError) as error:
        parse(["+http", "-user=a:b"], {"http": Http})
    assert str(error.value).startswith("+http: -user cannot hold a colon")
