"""shape, latency and compress at real programs: how much, how fast, how late.

Whoever measures time on a busy machine is told too little of a rate or too much of a delay, never
the reverse.  So the side that load cannot explain must hold each time, and the other once.
"""

import hashlib
import re
import socket
import sys
import time

import pytest

from fixtures.pace import Echo, Sink
from fixtures.peers.ports import free_port
from tests.e2e.peers import LONG
from tests.e2e.process import LIMIT, TESLA_TRACE, run, start, under
from tests.e2e.test_servers import nginx

TRIES, SECONDS = 6, 20.0
"""How often something is tried, at the least, and for how long."""


def pace(*words):
    return [sys.executable, "-m", "fixtures.pace", *words]


def once(found, holds):
    """Whether one of a few tries holds; all of them, if not."""
    tried, end = [], time.monotonic() + SECONDS
    while len(tried) < TRIES or time.monotonic() < end:
        tried.append(found())
        if holds(tried[-1]):
            return
    raise AssertionError(f"never: {tried}")


@pytest.mark.parametrize("rate", [200_000, 2_000_000, 20_000_000])
def test_over_five_seconds_it_is_the_rate(rate):
    with Sink() as sink:

        def sent():
            before = len(sink.asked)
            ran = under(["+shape", f"-out={rate}"], *pace("send", "127.0.0.1", sink.port, 5))
            sink.wait(before + 1, LIMIT)
            sent, _, begun = map(float, ran.out.split())
            took = sink.ended - begun  # and not since the first byte was read: that may be late
            assert float(sink.asked[-1].split()[0]) == sent and took > 4.5
            assert sent / took < rate * 1.01, "never more than that"
            return sent / took

        once(sent, lambda reached: reached > rate * 0.99)


def test_the_program_itself_goes_at_the_rate():
    """What it could write beyond that is what waits: less than an unshaped pair alone holds."""
    with Sink() as sink:
        words = ["+shape", "-out=1MB"]
        ran = under(words, *pace("send", "127.0.0.1", sink.port, 1.5))
    sent, took, _ = map(float, ran.out.split())
    assert sent - took * 10**6 < 150_000


@pytest.mark.needs("nginx", "curl")
@pytest.mark.parametrize("far", [False, True], ids=["in", "out"])
def test_curl_from_nginx(tmp_path, far):
    """Shaped at the one end or at the other, 4 MiB take as long."""
    rate = 2_000_000
    near, there = ([], ["+shape", f"-out={rate}"]) if far else (["+shape", f"-in={rate}"], [])
    with nginx([TESLA_TRACE, *(there or ["+dummy"])], tmp_path) as (port, _):
        url = f"http://127.0.0.1:{port}/big"

        def got():
            words = ["curl", "-s", "--noproxy", "*", "-o", tmp_path / "got"]
            words += ["-w", "%{size_download} %{time_total} %{time_starttransfer}", url]
            ran = under(near, *words) if near else run(*words)
            size, total, first = map(float, ran.out.split())
            assert size == (tmp_path / "big").stat().st_size
            assert (tmp_path / "got").read_bytes() == (tmp_path / "big").read_bytes()
            assert total > 0.98 * size / rate
            return (total - first) / (size / rate)  # the rest is curl's, and the machine's

        once(got, lambda times: times < 1.02)


def test_all_flows_share_a_rate():
    """Two processes at once get as much as one alone; without sharing, twice that."""
    rate = 1_000_000
    for share in "all", "process":
        with Sink() as sink:

            def sent(sink=sink, share=share):
                one = " ".join(map(str, pace("send", "127.0.0.1", sink.port, 2)))
                words = ["+shape", f"-out={rate}", f"-share={share}"]
                ran = under(words, "sh", "-c", f"{one} & {one}; wait")
                assert ran.status == 0 and len(ran.out.splitlines()) == 2
                told = [tuple(map(float, line.split())) for line in ran.out.splitlines()]
                begun = min(start for _, _, start in told)
                ended = max(start + took for _, took, start in told)
                # Of those who share, the first may be alone for a while, and the last too.
                seconds = ended - begun if share == "all" else sum(took for _, took, _ in told)
                total = sum(size for size, _, _ in told)
                assert total < rate * seconds * 1.02 + 2 * 150_000
                return total / (rate * seconds)

            once(sent, lambda part: part > 0.95)


# ---- latency ----


def quickest(*words, port, count=10, pause=0.0):
    """The times of a connect, and of a byte there and back, that load has added the least to."""
    ran = under(words, *pace("quickest", "127.0.0.1", port, f"{count} {pause}"))
    return [float(each) for each in ran.out.split()]


@pytest.mark.parametrize("delay", [0.01, 0.05])
def test_delays_are_what_they_are_to_be(delay):
    count, least = int(0.5 / delay), {}
    with Echo() as echo:

        def late():
            # As long a pause as latency makes: the machine is not any more awake.
            for name, words, pause in (
                ("dummy", ["+dummy"], 2 * delay),
                ("latency", ["+latency", f"-delay={delay}"], 0),
            ):
                times = quickest(*words, port=echo.port, count=count, pause=pause)
                least[name] = list(map(min, times, least.get(name, times)))
            dummy_connect, dummy = least["dummy"]
            connect, there_and_back = least["latency"]
            assert there_and_back > 2 * delay and connect > 2 * delay
            return connect - dummy_connect - 2 * delay, (there_and_back - dummy) / 2 - delay

        once(late, lambda errors: max(errors) < 1e-3)


def test_what_comes_in_is_seen_a_round_trip_later():
    program = (
        "import socket, time; l = socket.create_server(('127.0.0.1', 0));"
        "print(l.getsockname()[1], flush=True); c, _ = l.accept();"
        "print(time.monotonic(), flush=True); print(c.recv(9), flush=True)"
    )

    def late():
        words = [TESLA_TRACE, "+latency=50ms", sys.executable, "-c", program]
        with start(*words) as server:
            port = int(server.until("\n"))
            begun = time.monotonic()
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"hello")
                seen = float(server.until("\n")) - begun
                assert "hello" in server.until("\n")
            assert seen > 0.1
            return seen

    once(late, lambda seen: seen < 0.15)


def test_a_long_fat_way_is_filled():
    """80 ms at 20 MB/s: 64 KiB under way would make it 0.8 MB/s."""
    with Sink() as sink:

        def sent():
            before = len(sink.asked)
            under(["+latency=80ms"], *pace("send", "127.0.0.1", sink.port, 2))
            sink.wait(before + 1, LIMIT)
            got, took = map(float, sink.asked[-1].split())
            return got / took

        once(sent, lambda reached: reached > 20e6)


# ---- compress ----


@pytest.mark.needs("nginx", "curl")
@pytest.mark.parametrize("algorithm", ["zstd", "zlib"])
def test_compressed_at_both_ends(tmp_path, algorithm):
    words = ["+compress", f"-algorithm={algorithm}"]
    log = tmp_path / "log"
    port = free_port()
    (tmp_path / "text").write_bytes(LONG)
    server = [sys.executable, "-u", "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with start(TESLA_TRACE, "--log", log, *words, *server, "--directory", tmp_path) as there:
        there.until("Serving HTTP on")
        url = f"http://127.0.0.1:{port}/text"
        ran = under(words, "curl", "-s", "--noproxy", "*", "-o", tmp_path / "got", url)
        assert ran.status == 0
    assert hashlib.sha256((tmp_path / "got").read_bytes()).digest() == hashlib.sha256(LONG).digest()
    (said,) = (line for line in ran.log if "compress: " in line)
    plain, coded = map(int, re.search(r"in (\d+) bytes as (\d+) ", said).groups())
    assert plain > len(LONG) and coded < plain / 50


@pytest.mark.needs("curl")
def test_a_peer_that_does_not_compress_is_refused(web):
    ran = under(["+compress"], "curl", "-s", "--noproxy", "*", web.url())
    assert ran.status == 7 and not ran.out  # it could not connect
    assert any("+compress: the peer is not one that compresses" in line for line in ran.log)


def test_a_peer_with_another_algorithm_is_refused_and_named(tmp_path):
    log, port = tmp_path / "log", free_port()
    server = [sys.executable, "-u", "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with start(TESLA_TRACE, "--log", log, "+compress", "-algorithm=zlib", *server) as there:
        there.until("Serving HTTP on")
        url = f"http://127.0.0.1:{port}/"
        ran = under(["+compress", "+log"], "curl", "-s", "--noproxy", "*", url)
        assert ran.status == 7
    assert any("the peer compresses with zlib, and we with zstd" in line for line in ran.log)


def test_one_byte_trips_do_not_wait_for_more(tmp_path):
    """Less than 2 ms of it is ours; what waited for a full block would not come at all."""
    serve = pace("serve", "127.0.0.1", 0, 0)
    words = [TESLA_TRACE, "--log", tmp_path / "log", "+compress", *serve]
    with start(*words) as server:
        port = int(server.until("\n"))
        once(
            lambda: quickest("+compress", port=port, count=100)[1],
            lambda there_and_back: there_and_back < 2e-3,
        )
