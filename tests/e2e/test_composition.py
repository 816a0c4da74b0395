"""curl from nginx through handlers at both ends, which are any, in any order."""

import functools
import hashlib
import itertools
import random

import pytest

from fixtures.peers.ports import free_port
from tests.e2e.peers import answers
from tests.e2e.process import TESLA_TRACE, eventually, run, start, under
from tests.e2e.test_servers import NGINX

WORDS = {
    "dummy": [],
    "shape": ["-out=50MB", "-in=40MB"],
    "latency": ["-delay=3ms", "-jitter=1ms"],
    "compress": [],
    "crypt": ["-key={key}"],
}
CODERS = {"compress", "crypt"}
"""Those of them that a peer without them does not understand."""

TIMED_OUT = 28
"""Of curl."""

CHANCE = random.Random(5)
"""The same orders and bodies each time."""

ORDERS = [
    order
    for size in (2, 3, 4, 5)
    for order in CHANCE.sample(list(itertools.permutations(WORDS, size)), 4)
]

BODIES = {
    "nothing": b"",
    "byte": b"x",
    "segment": CHANCE.randbytes(1448),
    "record": CHANCE.randbytes(16_385),
    "zeros": bytes(100_000),
    "noise": CHANCE.randbytes(700_000),
    "text": b"and on and on\n" * 150_000,
    "big": CHANCE.randbytes(3 * 2**20),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What nginx serves."""
    folder = tmp_path_factory.mktemp("bodies")
    for name, body in BODIES.items():
        (folder / name).write_bytes(body)
    return folder


def test_each_handler_is_in_some_and_coders_in_both_orders():
    assert set(itertools.chain(*ORDERS)) == set(WORDS)
    coders = {tuple(name for name in order if name in CODERS) for order in ORDERS}
    assert {(), ("compress", "crypt"), ("crypt", "compress")} <= coders


@pytest.mark.needs("nginx", "curl")
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_curl_from_nginx(order, folder, key, tmp_path):
    words = [word.format(key=key) for name in order for word in (f"+{name}", *WORDS[name])]
    port, log = free_port(), tmp_path / "log"
    conf = "user root;\n" + NGINX.format(folder=folder, port=port, listen="")  # to read the folder
    (tmp_path / "conf").write_text(conf)
    nginx = ("nginx", "-p", folder, "-c", tmp_path / "conf")
    curl = ("curl", "-sS", "--noproxy", "*", "--max-time", "15")
    at_once = ["--parallel", "--parallel-immediate", "-w", "%{response_code}\n"]
    for name in BODIES:
        at_once += ["-o", tmp_path / name, f"http://127.0.0.1:{port}/{name}"]
    with start(TESLA_TRACE, "--log", log, "+log", *words, *nginx):
        eventually("nginx answers", functools.partial(answers, port))
        ran = under(["+log", *words], *curl, *at_once)
        assert ran.status == 0 and ran.out == "200\n" * len(BODIES), ran
        alone = run(*curl, "-o", tmp_path / "alone", f"http://127.0.0.1:{port}/text")
    for name, body in BODIES.items():
        got = (tmp_path / name).read_bytes()
        assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest(), name

    # The handlers were there: each end says so, and one without them is not served, but is told.
    assert sum(": connected" in line for line in ran.log) == len(BODIES), ran.log
    assert log.read_text().count("accepted from") >= len(BODIES)
    assert sum("compress: " in line for line in ran.log) == ("compress" in order) * len(BODIES)
    assert (alone.status == 0) == (not CODERS & set(order)), alone
    assert alone.status != TIMED_OUT, alone
