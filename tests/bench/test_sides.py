"""Every side does what it says: the bytes arrive, and are plain on the wire, or are not."""

import contextlib
import os
import shutil
import socket
import threading
from contextlib import ExitStack

import pytest

from bench import rungs
from bench.curves import measured
from bench.ends import plain
from bench.machine import Missing, compiled
from bench.measure import Worker
from bench.place import LOOPBACK
from bench.settings import Settings
from bench.sides import (
    BUILT_IN,
    NATIVE,
    SIDES,
    SOCKS,
    SPLICER,
    UNIX_PROXIES,
    Side,
)
from bench.stage import Stage
from fixtures.peers.relay import Server

WORDS = b"in plain words, " * 8
"""What the client sends, again and again."""


class Tap(Server):
    """On the wire: passes on what comes, and remembers it."""

    def __init__(self, wire):
        super().__init__()
        self.wire = wire
        self.seen = bytearray()

    def serve(self, client):
        host, _, port = self.wire.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=self.pass_on, args=(server, client), daemon=True)
            back.start()
            self.pass_on(client, server)
            back.join()

    def pass_on(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.seen += data
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class Taps:
    """A tap on each wire of a stage."""

    def __init__(self, folder, open):
        self.by_wire = {}
        self.open = open
        self.stage = Stage(Settings(folder, quick=True), LOOPBACK, open, through=self.tapped)

    def tapped(self, wire):
        tap = self.open.enter_context(Tap(wire))
        self.by_wire[f"127.0.0.1:{tap.port}"] = tap
        return f"127.0.0.1:{tap.port}"


@pytest.fixture(scope="module")
def taps(tmp_path_factory):
    with ExitStack() as open:
        yield Taps(tmp_path_factory.mktemp("sides"), open)


@pytest.fixture(scope="module")
def folder(taps):
    """With what has been compiled."""
    return taps.stage.settings.folder


@pytest.mark.parametrize("side", [*SIDES, BUILT_IN, SOCKS, SPLICER], ids=lambda side: side.name)
def test_a_side(taps, side):
    try:
        command = side.command(taps.stage)
    except Missing as wrong:
        pytest.skip(str(wrong))
    tap = taps.by_wire[taps.stage.wire(side.far)]
    with Worker(command) as worker:
        for line in ("send 1 0.02", "send 65536 0.02", "recv 4096 0.02", "ping 0.02"):
            tap.seen.clear()
            assert worker.ask(line)[0] > 0
            # The client has seen to it that as many bytes arrived as it sent.
            assert len(tap.seen) > 64
            words = WORDS[:1] * 64 if line.startswith("send 1 ") else WORDS
            plainly = words in tap.seen or b"x" * 32 in tap.seen
            assert plainly != side.encrypted, line


def test_socks_goes_through_the_proxy(taps):
    try:
        command = SOCKS.command(taps.stage)
    except Missing as wrong:
        pytest.skip(str(wrong))
    with Worker(command) as worker:
        worker.ask("ping 0.02")
    (log,) = taps.stage.settings.folder.glob(f"127.0.0.1-{taps.stage.proxy().split(':')[1]}.log")
    assert taps.stage.wire(plain) in log.read_text()


# ---- what is not there ----


@pytest.fixture
def bare_path(tmp_path, monkeypatch):
    """A PATH with a C compiler and little else."""
    for name in ("cc", "as", "ld", "sh"):
        if (found := shutil.which(name)) is None:
            pytest.skip(f"needs {name}")
        (tmp_path / name).symlink_to(os.path.realpath(found))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_program_that_is_not_there_costs_only_its_own_side(folder, bare_path):
    with ExitStack() as open:
        settings = Settings(folder, quick=True)
        stage = Stage(settings, LOOPBACK, open)
        sides = [NATIVE, UNIX_PROXIES[0], SPLICER]
        native, socat, splicer = measured(stage, sides, {4096: "send 4096 0.01"})
    assert socat.missing == "socat is not there" and not socat.points
    assert len(native.points[4096]) == len(splicer.points[4096]) == settings.rounds()
    assert not settings.broken


def test_rows_say_what_is_not_there(folder, bare_path):
    settings = Settings(folder, quick=True, seconds=0)
    socks = [contest for contest in rungs.CONTESTS if "SOCKS" in contest.what]
    for row in rungs.rows(settings, socks):
        assert row.missing.startswith("microsocks is not there")
    assert len(socks) == 2 and not settings.broken


def test_a_library_that_is_not_there_is_named(folder):
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    with pytest.raises(Missing, match="stream.c -lnowhere cannot be compiled: .*nowhere"):
        compiled(folder, "stream", "-lnowhere")


def test_a_side_that_breaks_is_left_out_and_said(folder):
    def breaks(stage, wire):
        return ["sh", "-c", "read a; echo 1; read b"]

    settings = Settings(folder, quick=True)
    with ExitStack() as open:
        stage = Stage(settings, LOOPBACK, open)
        sides = [NATIVE, Side("feeble", plain, breaks)]
        native, feeble = measured(stage, sides, {1: "ping 0.01"})
    assert len(native.points[1]) == 3
    assert "ended with status 0" in feeble.missing and not feeble.points
    assert settings.broken == [f"feeble: {feeble.missing}"]
