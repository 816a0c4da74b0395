"""The processes of a container.

Facts: all that a process of a pid namespace can name by a number is in that namespace, or in one
below it; and orphans stay there.  A container that shares the namespace of the machine has neither.

What it means for us: where a container has a pid namespace of its own, that tells; else as for any
process that ran before us.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress

from tesla_trace.kernel.members import Joined

NS_GET_PARENT = 0xB702


class Contained(Joined):
    """The processes that the runtime told of, what they start, and who lives with them."""

    def __init__(self) -> None:
        super().__init__()
        self._ours = os.readlink("/proc/self/ns/pid")
        self._own: set[str] = set()
        """Names of pid namespaces that are the container's."""

    def add(self, process: int) -> None:
        """This is one, too.

        Raises:
            OSError: it is gone.
        """
        space = os.readlink(f"/proc/{process}/ns/pid")
        super().add(process)
        if space != self._ours:
            self._own.add(space)

    def enclose(self, thread: int) -> bool:
        """Whether whatever the thread has a number for is one of them."""
        try:
            return bool(self._own) and self._lives_here(thread)
        except OSError:
            return False

    def __contains__(self, process: int) -> bool:
        """Whether it is one of them, or gone."""
        with suppress(OSError):
            if self._own and self._lives_here(process):
                return True
        return super().__contains__(process)

    def strays(self) -> Iterator[int]:
        """Those that entered the namespace, and their orphans."""
        known = set(self.processes())
        for name in os.listdir("/proc"):
            if name.isdigit() and (process := int(name)) not in known:
                with suppress(OSError):
                    if self._lives_here(process):
                        yield process

    def _lives_here(self, process: int) -> bool:
        path = f"/proc/{process}/ns/pid"
        space = os.readlink(path)
        if space in self._own or space == self._ours:
            return space in self._own
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while space not in self._own:
                above = fcntl.ioctl(file, NS_GET_PARENT)  # EPERM: above ours
                os.close(file)
                file, space = above, f"pid:[{os.fstat(above).st_ino}]"
        finally:
            os.close(file)
        return True
