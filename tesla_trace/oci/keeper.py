"""Who answers for containers when the agent has ended: it lets every call through.

Facts: once nobody has a listener, every call that its filter traps says ENOSYS, for ever; and a
filter cannot be taken away.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from tesla_trace.kernel.filter import numbers
from tesla_trace.kernel.notify import NotifyTrap


def keep(listeners: Iterable[int]) -> int:
    """Leave a process behind until the last of these has no process any more; its number."""
    kept = list(listeners)
    said, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if (keeper := os.fork()) == 0:
            _keep(kept)
        os.write(say, b"%d" % keeper)
        os._exit(0)
    os.close(say)
    os.waitpid(pid, 0)
    with open(said, "rb") as file:
        return int(file.read() or 0)


def _keep(listeners: list[int]) -> NoReturn:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    above = [2, *sorted(listeners), os.sysconf("SC_OPEN_MAX")]
    for low, high in zip(above, above[1:], strict=False):
        os.closerange(low + 1, high)
    traps = {fd: NotifyTrap(fd, numbers(())) for fd in listeners}
    poll = select.poll()
    for fd in traps:
        poll.register(fd, select.POLLIN)
    while traps:
        for fd, _ in poll.poll():
            with suppress(OSError):
                try:
                    traps[fd].next()  # knows none of the calls: lets them through
                except EOFError:
                    poll.unregister(fd)
                    traps.pop(fd).close()
    os._exit(0)
