"""Containers that real runtimes start go through our handlers, each through its own."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.containers import RUNTIMES, Container, Network, agent, each_runtime, needed
from tests.e2e.process import alive, children, eventually, run

THROUGH = ("+log", "+socks=127.0.0.1:1080", "-loopback")
GET = ("wget", "-qO-", "http://127.0.0.1:80/hello")
HELLO = "hello from 80\n"


@pytest.fixture
def net(tmp_path):
    with Network(tmp_path) as one:
        yield one


@each_runtime
def test_client(runtime, tmp_path, net):
    """In its own network namespace, where the proxy's address means what it means there."""
    needed(runtime)
    log = net.microsocks()
    with agent(tmp_path, *THROUGH) as ours:
        before = ours.files()
        ran = Container(runtime, tmp_path, ours, net, words=THROUGH).run(*GET)
        assert (ran.status, ran.out) == (0, HELLO), (ran, ours.lines())
        assert "connected to 127.0.0.1:80" in log.read_text()
        assert ours.said("connecting to 127.0.0.1:80")
        ours.until("over")
        eventually("all is closed", lambda: not ours.more_than(before), 3)


@each_runtime
def test_server_and_another_process(runtime, tmp_path, net):
    """A process that enters the container joins its session."""
    needed(runtime)
    with agent(tmp_path, "+log") as ours:
        box = Container(runtime, tmp_path, ours, net)
        serve = "mkdir /w; echo inside >/w/hello; exec httpd -f -vv -p 127.0.0.1:8080 -h /w"
        with box.start("sh", "-c", serve):
            ours.until("listening on 127.0.0.1:8080")
            ran = box.enter("wget", "-qO-", "http://127.0.0.1:8080/hello")
            assert (ran.status, ran.out) == (0, "inside\n"), (ran, ours.lines())
            ran = run(*net.words("busybox", "wget", "-qO-", "http://127.0.0.1:8080/hello"))
            assert ran.out == "inside\n"
            ours.until("enters")
            assert ours.said("wget[") and ours.said("httpd[")
            assert sum(line.endswith(" starts") for line in ours.lines()) == 1
            assert not ours.said("over")
        ours.until("over")


def test_twenty_at_once(tmp_path):
    """Each with a proxy of its own, that only it is told of, by the metadata of its configuration.

    Nothing is left of them when they are gone.
    """
    for runtime in RUNTIMES:
        needed(runtime)
    numbers = range(20)

    def one(number):
        port = 8000 + number
        with Network(tmp_path, port) as net:
            log = net.microsocks(1000 + number)
            asks = f"+log +socks=127.0.0.1:{1000 + number} -loopback"
            runtime = RUNTIMES[number % 2]
            box = Container(runtime, tmp_path, ours, net, words=THROUGH, metadata=asks)
            ran = box.run("wget", "-qO-", f"http://127.0.0.1:{port}/hello")
            assert (ran.status, ran.out) == (0, f"hello from {port}\n"), ran
            return box, port, log.read_text()

    with agent(tmp_path, "--metadata") as ours:
        before = ours.files()
        with ThreadPoolExecutor(len(numbers)) as pool:
            for box, port, log in pool.map(one, numbers):
                assert log.count("connected to") == 1 and f"connected to 127.0.0.1:{port}" in log
                mine = [line for line in ours.lines() if f" {box.name}: " in line]
                assert sum("connecting to" in line for line in mine) == 1, mine
                assert any(f"connecting to 127.0.0.1:{port}" in line for line in mine), mine
        eventually("all are over", lambda: sum(": over" in line for line in ours.lines()) == 20)
        eventually("all is closed", lambda: not ours.more_than(before), 3)
        assert ours.said(": over") and not ours.said("agent: Traceback")


@each_runtime
def test_killed_in_the_middle(runtime, tmp_path, net):
    """By SIGKILL: the peer is told, and nothing is left."""
    needed(runtime)
    with agent(tmp_path, "+log", "+shape", "-in=1MB") as ours:
        words = ("+log", "+shape", "-in=1MB")
        before = ours.files()
        box = Container(runtime, tmp_path, ours, net, words=words)
        with box.start("wget", "-qO", "/dev/null", "http://127.0.0.1:80/big"):
            ours.until("connected")
            box.kill()
            ours.until("over")
        eventually("all is closed", lambda: not ours.more_than(before), 3)


@each_runtime
def test_the_end_of_the_agent(runtime, tmp_path, net):
    """Containers that run go on, past the handlers; who answers for them ends with the last."""
    needed(runtime)
    with agent(tmp_path, "+log") as ours:
        box = Container(runtime, tmp_path, ours, net)
        with box.start("sh", "-c", "echo begun; sleep 1000") as program:
            program.until("begun")
            assert box.enter(*GET).out == HELLO
            ours.program.send(signal.SIGTERM)
            assert ours.program.wait() == 0
            ours.until("lets calls through")
            connected = sum("connecting" in line for line in ours.lines())
            assert connected == 1
            line = next(line for line in ours.lines() if "lets calls through" in line)
            keeper = int(line.partition("process ")[2].split()[0])
            assert alive(keeper) and not children(keeper)
        eventually("nobody stays behind", lambda: not alive(keeper))
