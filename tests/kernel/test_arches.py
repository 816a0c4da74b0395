"""Numbers of calls, against those that libseccomp has."""

import pyseccomp
import pytest

from tesla_trace.kernel import arches
from tesla_trace.kernel.arches import ARM, I386, X86_64


@pytest.mark.parametrize("call", I386.direct)
def test_numbers_of_i386(call):
    assert pyseccomp.resolve_syscall(I386.audit, I386.direct[call]) == call.encode()


def test_sub_calls_as_libseccomp_numbers_them():
    for which, (call, _) in I386.subcalls.items():
        assert pyseccomp.resolve_syscall(I386.audit, call) == -100 - which


def test_calls_that_are_not_everywhere():
    assert I386.number("accept") is None
    assert I386.number(arches.MULTIPLEXER) == 102
    assert X86_64.number(arches.MULTIPLEXER) is ARM.number(arches.MULTIPLEXER) is None
    assert I386.number("recvmmsg_time64") == 417 and X86_64.number("recvmmsg_time64") is None


def test_this_machine():
    first = arches.arches()[0]
    assert first.audit == pyseccomp.system_arch()
