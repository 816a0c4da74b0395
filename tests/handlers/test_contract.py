"""The contract on each handler there is, and on a stack of all."""

import pytest

from tesla_trace.flow import installed
from tesla_trace.testing import CodedContract, StreamContract
from tesla_trace.testing.network import Network

PEERS = {"socks": "socks-proxy", "http": "http-proxy"}
"""What stands at the other end, where that is not the handler itself."""


@pytest.fixture(scope="session")
def tls(authority):
    """The options of a server and of its client, which asks it for who it is."""
    identity = authority.identity("server.test")
    return [f"-cert={identity}", f"-ca={authority.path}", "-name=server.test"]


class TestStreams(StreamContract):
    @pytest.fixture(scope="class", params=[*installed(), "compress -algorithm=zlib", "all"])
    @classmethod
    def stacks(cls, request, key, tls):
        options = {
            "crypt": [f"-key={key}"],
            "latency": ["-delay=100ms", "-rate=1MB"],
            "shape": ["-out=20kB", "-in=30kB"],
            "tls": tls,
        }
        names = list(installed()) if request.param == "all" else [request.param]
        stacks = [], []
        for name in names:
            words = [*f"+{name}".split(), *options.get(name, [])]
            stacks[0].extend(words)
            stacks[1].extend([f"+{PEERS[name]}"] if name in PEERS else words)
        return stacks


class TestCoded(CodedContract):
    @pytest.fixture(scope="class", params=["compress", "compress -algorithm=zlib", "crypt", "tls"])
    @classmethod
    def coded(cls, request, key, tls):
        options = {"crypt": [f"-key={key}"], "tls": tls}
        return [*f"+{request.param}".split(), *options.get(request.param, [])]

    def test_closed_with_garbage_to_come_is_silent(self, coded):
        network = Network()
        client, server = network.pair(coded, closes_at="avail")
        network.run()
        hello = server.below.encode(b"hello")
        if coded[0] == "+compress":  # it gives nothing before garbage; behind the end it does
            hello += server.below.finish()
        network.wires[2].write(hello + b"\xff" * 100)
        network.run()
        assert client.closed and client.log == ["connected"] and client.got == b"hello"
        assert network.wires[1].closed
