"""What a connection through SOCKS costs, against the handshake built in, and proxychains4."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

from bench.machine import Missing, compiled, need, tesla
from bench.measure import Figures, Row, Worker, at_most
from bench.peers import microsocks
from bench.settings import Settings
from bench.stream import serving

AT_ONCE = 100

CONFIG = """\
strict_chain
quiet_mode
tcp_connect_time_out 10000
tcp_read_time_out 10000
[ProxyList]
socks5 {proxy}
"""
"""Of proxychains4: names are its own business (no proxy_dns), loopback too goes to the proxy."""

DIRECT = "direct, no proxy"
FLOOR = "the handshake in the program"
CHAINS = "proxychains4"
OURS = "ours"
HANDLERS = "ours, --datapath=handlers"

ADDED = "beyond a direct connection"


def rows(settings: Settings) -> Iterator[Row]:
    """One after the other, then many at once; the same program, to the same server, in turns."""
    titles = [
        "a connection through SOCKS: socket, connect, close",
        "a connection through SOCKS, and a byte there and back",
    ]
    at_once = f"{AT_ONCE} connections through SOCKS at once"
    with ExitStack() as open:
        workers, missing = _workers(settings, open)
        count = 20 if settings.quick else 300
        for echoed, title in enumerate(titles):
            line = f"after {count} {echoed}"
            figures = settings.measured(_asked(workers, line), fine=True, part=0.25)
            yield from _one_by_one(title, figures, missing)
        many = AT_ONCE * (1 if settings.quick else 20)
        for way, how in (("epoll", "non-blocking, by one thread"), ("threads", "by a thread each")):
            figures = settings.measured(_asked(workers, f"{way} {many} {AT_ONCE}"), part=0.25)
            yield from _rates(f"{at_once}, {how}", figures, missing)


def _workers(settings: Settings, open: ExitStack) -> tuple[dict[str, Worker], str]:
    """All sides; and why there is no proxychains4, if there is none."""
    client = compiled(settings.folder, "connects")
    port = open.enter_context(serving([client, "serve"]))
    proxy = open.enter_context(microsocks(settings.folder))
    socks = [f"+socks={proxy}", "-loopback"]
    commands = {
        OURS: [*tesla(*socks), client, port],
        HANDLERS: [*tesla("--datapath=handlers", *socks), client, port],
        FLOOR: [client, port, proxy.rpartition(":")[2]],
        DIRECT: [client, port],
    }
    missing = ""
    try:
        config = settings.folder / "proxychains.conf"
        config.write_text(CONFIG.format(proxy=proxy.replace(":", " ")))
        commands[CHAINS] = [need("proxychains4"), "-q", "-f", str(config), client, port]
    except Missing as wrong:
        missing = str(wrong)
    return {side: open.enter_context(Worker(words)) for side, words in commands.items()}, missing


def _asked(workers: Mapping[str, Worker], line: str) -> Mapping[str, Callable[[], float]]:
    return {side: worker.asked(line) for side, worker in workers.items()}


def _one_by_one(title: str, figures: Figures, missing: str) -> Iterator[Row]:
    """What counts is what is added to a direct connection: its time is in all of them."""
    added = {
        side: [one - direct for one, direct in zip(values, figures[DIRECT], strict=True)]
        for side, values in figures.items()
    }
    title_of_added = f"{title}: {ADDED}"
    if missing:
        yield Row(title_of_added, CHAINS, at_most(1.25), missing=missing)
    else:
        yield Row(title_of_added, CHAINS, at_most(1.25), added[OURS], added[CHAINS], "µs")
    yield Row(title_of_added, FLOOR, None, added[OURS], added[FLOOR], "µs")
    yield Row(title_of_added, HANDLERS, None, added[OURS], added[HANDLERS], "µs")
    yield Row(title, DIRECT, None, figures[OURS], figures[DIRECT], "µs")


def _rates(title: str, figures: Figures, missing: str) -> Iterator[Row]:
    for side in (CHAINS, FLOOR, HANDLERS, DIRECT):
        if side in figures:
            yield Row(title, side, None, figures[OURS], figures[side], "/s")
        else:
            yield Row(title, side, None, missing=missing)
