"""libseccomp, by way of pyseccomp: whoever wants it imports it from here.

Facts: pyseccomp asks `ctypes.util.find_library` for two libraries while it is imported.  That runs
ldconfig(8) for each, and imports subprocess with all that belongs to it: 35 ms, which was a sixth
of what a start took.  dlopen(3) finds both libraries without: libc is loaded already, and
libseccomp.so.2 is a name that has meant the same since 2012.

What it means for us: while pyseccomp is imported, a stand-in for `ctypes.util` answers for it.
Where the loader does not find libseccomp by that name, `find_library` is asked after all, and a
RuntimeError says that there is none.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

ASKED = "ctypes.util"

FOUND = {"c": None, "seccomp": "libseccomp.so.2"}
"""What dlopen(3) finds the libraries by; None is the program itself, with its libc."""


@contextmanager
def _at_hand() -> Iterator[None]:
    """Let the libraries be found without a search, for as long as this lasts."""
    if ASKED in sys.modules or not _loads(FOUND["seccomp"]):
        yield
        return
    stand_in = ModuleType(ASKED)
    stand_in.__dict__["find_library"] = FOUND.get
    sys.modules[ASKED] = ctypes.__dict__["util"] = stand_in
    try:
        yield
    finally:
        del sys.modules[ASKED], ctypes.__dict__["util"]


def _loads(library: str | None) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


with _at_hand():
    import pyseccomp

__all__ = ["pyseccomp"]
