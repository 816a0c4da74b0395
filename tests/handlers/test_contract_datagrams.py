"""The contract of datagrams on each handler that serves them, and on all of them."""

import socket

import pytest

from tesla_trace.flow import installed
from tesla_trace.testing import DatagramContract
from tesla_trace.testing.contract_datagrams import RELAYED, data_of, meeting
from tesla_trace.testing.datagrams import PROXY, Proxy

SERVE = [name for name, each in installed().items() if each.serving(socket.SOCK_DGRAM)]
OPTIONS = {"latency": ["-delay=100ms"], "shape": ["-out=200kB", "-in=300kB"]}


class TestDatagrams(DatagramContract):
    @pytest.fixture(
        scope="class", name="words", params=[*SERVE, "all", "socks, relayed", "all, relayed"]
    )
    @classmethod
    def _words(cls, request):
        name, _, relayed = request.param.partition(", ")
        names = SERVE if name == "all" else [name]
        if relayed:
            names = [each for each in names if each not in ("http", "socks")]
        found = [word for each in names for word in (f"+{each}", *OPTIONS.get(each, []))]
        return [*found, *RELAYED] if relayed else found


def test_a_proxy_that_hangs_up_is_asked_again():
    air, names, (app, one, _) = meeting(RELAYED)
    for _ in range(2):
        app.write(b"hello", names[1])
        air.run()
        one.write(b"answer", one.got[-1][1])
        air.run()
        (proxy,) = (end for end in air.ends if isinstance(end, Proxy) and not end.closed)
        proxy.hang_up()
        air.run()
    assert data_of(one) == [b"hello"] * 2 and app.got == [(b"answer", names[1])] * 2


def test_there_is_something_to_test():
    assert {"dummy", "latency", "log", "shape", "socks", "http"} <= set(SERVE)
    assert RELAYED == [f"+socks={PROXY[0]}:{PROXY[1]}"]
