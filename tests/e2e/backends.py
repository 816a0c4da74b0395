"""The ways to trap the calls of a program: the same must happen by each."""

import pytest

SECCOMP: list[str] = []
PTRACE = ["--trap=ptrace"]

BACK_ENDS = {"seccomp": SECCOMP, "ptrace": PTRACE}
"""The words of tesla_trace for it."""

each_back_end = pytest.mark.parametrize("trap", BACK_ENDS.values(), ids=BACK_ENDS)
