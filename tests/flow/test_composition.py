"""Handlers that know nothing of each other, in each order: the same bytes, both ways."""

import itertools
import random
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from tesla_trace.flow import Address, FlowHandler
from tesla_trace.testing.network import Network

WORDS = {
    "dummy": [],
    "log": [],
    "shape": ["-out=20MB", "-in=30MB"],
    "latency": ["-delay=5ms", "-jitter=2ms", "-seed=1"],
    "compress": [],
    "crypt": ["-key={key}"],
}
CODERS = {"compress", "crypt"}
"""Those of them that put something else on the wire."""

ORDERS = [order for size in (2, 3) for order in itertools.permutations(WORDS, size)]

EXAMPLES = 4
"""Of data and cuts for each order, and other ones for each."""

SIZES = [1, 2, 100, 1448, 5000, 16_385, 70_000]
"""Of what is written at once: on either side of a segment, a TLS record, and a piece of zstd."""

pieces = st.lists(
    st.tuples(
        st.builds(
            lambda size, text, chance: (
                b"and on and on\n" * size if text else random.Random(chance).randbytes(size)
            )[:size],
            st.sampled_from(SIZES),
            st.booleans(),
            st.integers(0, 2**32),
        ),
        st.sampled_from([None, 0, 0.001, 1]),
    ),
    max_size=4,
)
"""What an application writes, and for how long it pauses then; None for no turn of the loop."""

cuts = st.builds(
    lambda small, large: [*small, large],
    st.lists(st.integers(1, 50), max_size=4),
    st.integers(1000, 100_000),
)
"""Few bytes at a time, but never for long: a day has so many turns."""


class Tap(FlowHandler):
    """Remembers what goes out to the wire."""

    name = "tap"
    wrote = b""

    def write(self, data: bytes, to: Address | None = None) -> bool:
        self.wrote += data
        return super().write(data, to)


def graph(top: FlowHandler) -> Iterator[FlowHandler]:
    """The handlers of a flow, down to the tap."""
    handler = top
    while not isinstance(handler, Tap):
        (handler,) = handler.downstream
        yield handler


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_in_each_order(order, key):
    words = [word.format(key=key) for name in order for word in (f"+{name}", *WORDS[name])]

    @seed(zlib.crc32("-".join(order).encode()))
    @settings(max_examples=EXAMPLES, phases=[Phase.generate])
    @given(pieces, pieces, pieces, cuts, st.integers(2000, 200_000), st.booleans())
    def carries(out, back, after, cuts, room, stops):
        network = Network(cuts, room, tap=Tap)
        client, server = network.pair([*words, "+tap"])
        network.run()
        ends = list(graph(client)), list(graph(server))
        for end in ends:
            assert [each.name for each in end] == [*order, "tap"]

        if stops:
            server.take(False)
        for ours, theirs in itertools.zip_longest(out, back):
            for end, piece in ((client, ours), (server, theirs)):
                if piece is not None:
                    data, pause = piece
                    assert end.write(data)
                    if pause is not None:
                        network.run(pause)
        client.shutdown(False, True)
        network.run()
        if stops:
            assert not server.got and (server.end is None or not whole(out))
            server.take(True)
            network.run()
        assert server.got == whole(out) and server.end == 0
        assert client.got == whole(back) and client.end is None

        for data, pause in after:  # behind the half close
            assert server.write(data)
            if pause is not None:
                network.run(pause)
        server.shutdown(False, True)
        network.run()
        assert client.got == whole(back) + whole(after) and client.end == 0

        plain = not CODERS & set(order)
        for end, said in zip(ends, (whole(out), whole(back) + whole(after)), strict=True):
            assert (end[-1].wrote == said) == plain, "the wire does not show the coders"
        for end in (client, server):
            end.close()
        network.run()
        assert not network.clock.pending()

    carries()


def whole(pieces):
    return b"".join(data for data, _ in pieces)
