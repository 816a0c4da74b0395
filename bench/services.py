"""The services that change bytes or their time: how fast, and how near to what was asked for."""

from __future__ import annotations

import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import rungs
from bench.machine import Missing, need, tesla
from bench.measure import Figures, Row, at_least, at_most
from bench.rungs import PING, SEND, Contest
from bench.settings import Settings
from bench.sides import CRYPTED, NATIVE, STUNNELS
from bench.stream import serving
from fixtures.pace import Echo, Sink

PATIENCE = 120.0
"""Seconds that a client may take."""

RATES = {"2 MB/s": 2_000_000, "20 MB/s": 20_000_000}
QUICK_RATES = {"20 MB/s": 20_000_000}

DELAYS = {"5 ms": 0.005, "50 ms": 0.05}

ALGORITHMS = ("zstd", "zlib")

LEAST = 1e-3
"""Percent, the least error that is told from none: a ratio needs something below the line."""


def rows(settings: Settings) -> Iterator[Row]:
    """compress, crypt, shape and latency, each against its like."""
    yield from _compress(settings)
    yield from rungs.rows(settings, CRYPT)
    yield from _shape(settings)
    yield from _latency(settings)


# ---- compress ----


def text(folder: Path, size: int) -> Path:
    """So much text: the sources of Python's own library."""
    path = folder / f"text-{size}"
    if not path.exists():
        sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        data = b"".join(each.read_bytes() for each in sources)
        path.write_bytes((data * (size // len(data) + 1))[:size])
    return path


def _compress(settings: Settings) -> Iterator[Row]:
    size = (4 if settings.quick else 32) * 10**6
    path = text(settings.folder, size)
    with ExitStack() as open:
        sides: dict[str, Callable[[], float]] = {}
        trips: dict[str, Callable[[], float]] = {}
        for name in (*ALGORITHMS, "dummy"):
            words = ["+dummy"] if name == "dummy" else ["+compress", f"-algorithm={name}"]
            log = ["--log", str(settings.folder / f"{name}.log")]
            under = tesla(*log, *words)
            port = open.enter_context(serving([*under, *_pace("serve", "127.0.0.1", "0", "0")]))
            upload = _pace("upload", "127.0.0.1", port, str(path))
            sides[name] = partial(lambda command: size / _asked(command)[0], [*under, *upload])
            trip = _pace("trips", "127.0.0.1", port, "200 0")
            trips[name] = partial(lambda command: _asked(command)[1] * 1e6, [*under, *trip])
        figures = settings.measured(sides, part=0.3)
        what = "text through +compress at both ends"
        yield Row(what, "zlib", at_least(3), figures["zstd"], figures["zlib"], "B/s")
        yield Row(what, "+dummy", None, figures["zstd"], figures["dummy"], "B/s")
        figures = settings.measured(trips, part=0.15)
        for name in ALGORITHMS:
            what = f"a byte there and back, +compress -algorithm={name}"
            yield Row(what, "+dummy", None, figures[name], figures["dummy"], "µs")


# ---- crypt ----

CRYPT = (
    Contest(
        "64 KiB sent in a stream",
        SEND,
        "B/s",
        [(CRYPTED, [STUNNELS], at_least(1.5))],
        0.1,
    ),
    Contest(
        "round trips of 1 byte",
        PING,
        "/s",
        [(CRYPTED, [NATIVE], at_least(0.5)), (CRYPTED, [STUNNELS], None)],
        0.1,
        apart=True,
    ),
)

# ---- shape ----


def _shape(settings: Settings) -> Iterator[Row]:
    seconds = 3 if settings.quick else 5
    with Sink() as sink:
        for title, rate in (QUICK_RATES if settings.quick else RATES).items():
            sides: dict[str, Callable[[], float]] = {}
            missing: dict[str, str] = {}
            for name, command in SHAPERS.items():
                if settings.quick and name != "ours":
                    missing[name] = "too long for a quick run"
                    continue
                try:
                    line = command(rate, rate * seconds, f"127.0.0.1:{sink.port}")
                except Missing as wrong:
                    missing[name] = str(wrong)
                else:
                    sides[name] = partial(_error, sink, line, rate)
            figures = settings.measured(sides, 2 if settings.quick else 3, part=0.3)
            yield from _errors(f"{title} for {seconds} s: off by", figures, missing)


def _errors(what: str, figures: Figures, missing: dict[str, str]) -> Iterator[Row]:
    yield Row(what, "the rate", at_most(1), figures["ours"], unit="%")
    for name in ("trickle", "pv"):
        if name in missing:
            yield Row(what, name, None, missing=missing[name])
        else:
            yield Row(what, name, None, figures["ours"], figures[name], "%")


def _error(sink: Sink, line: str, rate: int) -> float:
    """Percent that a sender was off, as its peer sees it."""
    before = len(sink.asked)
    subprocess.run(["sh", "-c", line], stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE)
    sink.wait(before + 1, PATIENCE)
    got, took = map(float, sink.asked[-1].split())
    return max(LEAST, abs(got / took / rate - 1) * 100)


def _ours(rate: int, size: int, to: str) -> str:
    return f"{_zeros(size)} | {shlex.join(tesla('+shape', f'-out={rate}'))} {_sends(to)}"


def _trickle(rate: int, size: int, to: str) -> str:
    limits = f"-u {rate / 1024:.0f} -d 1000000"
    return f"{_zeros(size)} | {need('trickle')} -s {limits} {_sends(to)}"


def _pv(rate: int, size: int, to: str) -> str:
    return f"{_zeros(size)} | {need('pv')} -q -L {rate} | {_sends(to)}"


def _zeros(size: int) -> str:
    return f"head -c {size} /dev/zero"


def _sends(to: str) -> str:
    """A program that all can hold to a rate: trickle does nothing to Python."""
    return f"{need('socat')} -u - TCP:{to}"


SHAPERS = {"ours": _ours, "trickle": _trickle, "pv": _pv}


# ---- latency ----


def _latency(settings: Settings) -> Iterator[Row]:
    count = "20" if settings.quick else "40"
    with Echo() as echo:
        for title, delay in DELAYS.items():
            trips = _pace("trips", "127.0.0.1", str(echo.port), f"{count} 0")
            sides = {
                "dummy": partial(_asked, [*tesla("+dummy"), *trips]),
                "latency": partial(_asked, [*tesla("+latency", f"-delay={delay}"), *trips]),
            }
            figures = settings.measured(
                {name: partial(lambda ask: ask()[1] * 1e3, ask) for name, ask in sides.items()},
                3 if settings.quick else 5,
                part=0.1,
            )
            pairs = zip(figures["latency"], figures["dummy"], strict=True)
            errors = [abs((far - near) / 2 - delay * 1e3) for far, near in pairs]
            what = f"+latency={title}: the median is off by, each way"
            yield Row(what, "the delay", at_most(1), errors, unit="ms")


def _pace(*words: str) -> list[str]:
    return [sys.executable, "-m", "fixtures.pace", *words]


def _asked(command: Sequence[str]) -> list[float]:
    """The numbers that a client prints."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
    return [float(word) for word in ran.stdout.split()]
