"""Programs that mean us harm: any call, any argument, memory and descriptors that change meanwhile.

Nothing that they do may end the supervisor, leave a call unanswered, or be a bug that it reports.
With `HOSTILE_EXAMPLES` in the environment there are as many runs, and other ones each time.
"""

import contextlib
import os
import platform
import socket
import struct
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tesla_trace.kernel import arches
from tests.e2e.process import LIMIT, TESLA_TRACE, start, under

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "150"))
ARENA, PAGE, PAGES = 0x20000000, 4096, 2
RACES = ["none", "unmap", "protect", "flip", "replace", "exec", "exit", "kill", "signal"]

CALLS = (
    "socket connect bind listen accept accept4 shutdown getsockname getpeername getsockopt"
    " setsockopt sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg"
    # not trapped, and sometimes in the way of what is
    " read write close dup2 ioctl"
).split()

ADDRESSES = st.one_of(
    st.builds(lambda at: ARENA + at * 8, st.integers(0, 40)),
    st.builds(lambda back: ARENA + PAGE - back, st.integers(0, 40)),
    st.builds(lambda back: ARENA + PAGES * PAGE - back, st.integers(0, 140)),
    st.builds(lambda at: ARENA + PAGES * PAGE + at, st.integers(0, PAGE)),
    st.sampled_from([0, 1, ARENA - 1, 2**31, 2**47 - 4, 2**47, 2**63, 2**64 - 1]),
)
NUMBERS = st.one_of(
    st.integers(0, 140),
    st.sampled_from([2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)
DESCRIPTORS = st.one_of(st.integers(10, 17), st.integers(-2, 20), NUMBERS)
FLAGS = st.one_of(st.just(0), st.sampled_from([1, 2, 0x20, 0x40, 0x2000, 0x20000000]), NUMBERS)


def socket_call():
    domains = st.one_of(st.sampled_from([1, 2, 10]), NUMBERS)
    types = st.one_of(st.sampled_from([1, 2, 3, 5, 1 | 0o4000, 2 | 0o2000000]), NUMBERS)
    return st.tuples(st.just("socket"), domains, types, st.one_of(st.just(0), NUMBERS))


def other_call(name):
    either = st.one_of(ADDRESSES, NUMBERS, FLAGS)
    return st.tuples(st.just(name), DESCRIPTORS, either, either, either, either, either)


CALL = st.one_of(socket_call(), *map(other_call, CALLS[1:]))
SUBCALL = st.tuples(st.just(arches.MULTIPLEXER), st.integers(0, 21), ADDRESSES)
CALLS_OF = {arches.X86_64: CALL, arches.I386: st.one_of(CALL, SUBCALL)}


def sockaddr(family, port, host):
    return struct.pack("=H", family) + port.to_bytes(2, "big") + bytes(host) + bytes(8)


def msghdr(*words):
    return struct.pack("=QQQQQQQ", *words)


MEMORY = st.lists(
    st.one_of(
        st.builds(
            sockaddr,
            st.sampled_from([0, 1, 2, 10, 77]),
            st.integers(0, 65535),
            st.sampled_from([(127, 0, 0, 1), (0, 0, 0, 0), (255, 255, 255, 255)]),
        ),
        st.builds(msghdr, *[st.one_of(ADDRESSES, st.integers(0, 64))] * 7),
        st.builds(lambda number: struct.pack("=Q", number), NUMBERS),
        st.builds(lambda *words: struct.pack("=4I", *words), *[st.integers(0, 20)] * 4),
        st.binary(max_size=64),
    ),
    min_size=1,
    max_size=8,
).map(b"".join)


def written(arch, race, memory, calls):
    words = [
        ",".join([str(number), *(str(arg % 2 ** (8 * arch.word)) for arg in args)])
        for name, *args in calls
        if (number := arch.number(name)) is not None
    ]
    return " ".join([race, memory.hex() or "00", *words]) + "\n"


@pytest.mark.timeout(180 + EXAMPLES)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="its memory is laid out for x86-64")
@pytest.mark.parametrize(
    ("words", "build", "arch"),
    [
        (["+dummy"], "glibc-static", arches.X86_64),
        (["+log", "-data", "+latency=1ms"], "glibc-static", arches.X86_64),
        (["+dummy"], "i386", arches.I386),
        (["--trap=ptrace", "+dummy"], "glibc-static", arches.X86_64),
        (["--trap=ptrace", "+dummy"], "i386", arches.I386),
    ],
    ids=["dummy", "more", "32 bits", "ptrace", "ptrace, 32 bits"],
)
def test_a_hostile_program_harms_only_itself(built, words, build, arch):
    program = built.path("hostile", build)
    with tempfile.NamedTemporaryFile("r") as log:
        with start(TESLA_TRACE, "--log", log.name, *words, program) as hostile:

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize="HOSTILE_EXAMPLES" not in os.environ,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            @given(
                st.sampled_from(RACES), MEMORY, st.lists(CALLS_OF[arch], min_size=1, max_size=12)
            )
            def try_one(race, memory, calls):
                before = Path(log.name).read_text().count("a bug of ours")
                hostile.process.stdin.write(written(arch, race, memory, calls).encode())
                hostile.process.stdin.flush()
                assert hostile.until("\n").strip() in ("ended", "Alarm clock")
                assert Path(log.name).read_text().count("a bug of ours") == before

            try_one()
            hostile.process.stdin.close()
            assert hostile.wait() == 0
        assert "a bug of ours" not in log.read()


def test_an_address_that_changes_meanwhile_is_read_once(built):
    """Where a connection goes is what the handlers were told, and what the program is told."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        ports = [each.getsockname()[1] for each in (one, two)]
        arrived = [0, 0]

        def count(which, listener):
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()
                    arrived[which] += 1

        threads = [threading.Thread(target=count, args=each) for each in enumerate((one, two))]
        for thread in threads:
            thread.start()
        ran = under(["+log"], built.path("flip", "glibc-static"), *ports, 300)
        for listener in (one, two):
            listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(LIMIT)
    told = [
        sum(line.endswith(f"connecting to 127.0.0.1:{port}") for line in ran.log) for port in ports
    ]
    assert ran.out == f"{told[0]} {told[1]} 0\n" and arrived == told
    assert min(told) > 10, "the address was not changed often enough to show anything"
