"""Having a stopped thread make system calls for us.

Facts, and what they mean for us:

- A program's text is shared by its threads and may be looked at, so nothing is written there: an
  instruction that makes a call is there already, just before where a thread is in a call, and in
  the vdso.
- A thread that was stopped in a call which waits comes out with a result that means "begin again"
  (-ERESTARTSYS and the like), which the kernel acts upon when it next looks for signals.  It does
  look when the thread stops for us in between, and takes what it finds then.  So while calls are
  injected the thread seems to be in none, and in the end it is made to stop once more with all its
  registers as they were: its own call begins again as after any stop.
- All signals are blocked meanwhile.  SIGSTOP cannot be: it is sent once more.  A stop of the whole
  process is looked at again by that last stop of ours.
- Below the stack pointer and the red zone there is room that nobody uses: of a goroutine's stack
  some hundred bytes.
- Where another traced thread calls execve(2), what tells of it stands where the first thread of the
  process stood, and has its number: the registers are the new program's, and none of our business.
- A thread that makes a call may be frozen by its cgroup, and then we wait, as its program does.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Self, TypeVar

from tesla_trace.kernel import memory, proc
from tesla_trace.kernel.arches import Arch, arches
from tesla_trace.kernel.libc import tgkill
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.registers import ERRORS, Layout, own
from tesla_trace.kernel.trap import Gone

P = ParamSpec("P")
R = TypeVar("R")

ALL = (1 << 64) - 1
ALIGNED = 16
SEARCHED = 1 << 20
"""Bytes of a program's text that are searched for an instruction."""


class Injection:
    """A thread that makes calls for us; after `with`, its registers and signals are as before.

    It must have been seized with SYSGOOD, and be stopped.

    Args:
        begun: it is stopped where a call of its own begins.  Then that call is replaced by the
            first one that is injected, and the thread is left where a call has ended.
        signal: what it stopped for.  As all signals are blocked, it is pending once more.
        instruction: where one has been found that makes a call, for it takes a while to find.

    Raises:
        Gone: the thread has died; `ended` is its wait status, or `replaced` says that another
            has its number.
        OSError: ENOSYS, it is of an unknown kind.
    """

    def __init__(
        self, thread: int, *, begun: bool = False, signal: int = 0, instruction: int = 0
    ) -> None:
        self.thread = thread
        self.ended: int | None = None
        """The wait status of the thread, once it has died."""
        self.replaced = False
        """Whether another thread, which has executed another program, is stopped in its place."""
        self.stopped_again = False
        """Whether its process was to stop meanwhile."""
        self._begun = begun
        self._signal = signal
        self._was_begun = begun
        self._signals: list[int] = []
        data = self._ask(requests.registers)
        self.layout: Layout = own(len(data), [each.audit for each in arches()])
        self._arch: Arch = next(each for each in arches() if each.audit == self.layout.audit)
        self.words = self.layout.unpack(data)
        """The registers as they were."""
        self._blocked = self._ask(requests.blocked)
        self._instruction = 0
        self._is_begun_again = self._is_blocking = False
        self._found_before = instruction

    def __enter__(self) -> Self:
        """Have it make no other calls than ours."""
        if self._signal == signal.SIGSTOP:  # cannot be blocked
            self._signals.append(self._signal)
            self._signal = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        """Leave it as it was."""
        if self.ended is None and kind is not Gone and not self._is_begun_again:
            self._restore()

    def call(self, name: str, *args: int) -> int:
        """Make a call; gives its result.

        Raises:
            OSError: as the call does; ENOSYS, it has no number.
            Gone: the thread has died.
        """
        number = self._arch.number(name)
        if number is None:
            raise OSError(38, f"{name}: {os.strerror(38)}")
        words = list(self.words)
        args = (*args, *(0,) * (6 - len(args)))
        if self._begun and self._in_place():
            self.layout.with_call(words, number, args)
            self._set(words)
            if self.layout.begun is None:
                self._ask(requests.set_call, number)
        else:
            self._block()
            self._leave_call()
            self.layout.with_next_call(words, number, args, self._to_call())
            self._set(words)
        self._begun = False
        self._run()
        value = self.layout.returned(self.layout.unpack(self._ask(requests.registers)))
        if -ERRORS < value < 0:
            raise OSError(-value, f"{name}: {os.strerror(-value)}")
        return value

    def again(self, number: int) -> None:
        """Come back to where the thread's own call begins, of which others have taken the place."""
        with self:
            self._block()
            words = list(self.words)
            args = [words[place] for place in self.layout.args]
            before = words[self.layout.instruction] - self.layout.step()
            self.layout.with_next_call(words, number, args, before)
            self._set(words)
            self._run(requests.ENTRY)
            self._ask(requests.block, self._blocked)
            self._is_begun_again = True

    def room(self, size: int) -> int:
        """The address of some bytes, at most a few hundred, that nobody uses for now."""
        top = self.words[self.layout.stack] & self.layout.mask
        return (top - self.layout.below - size) // ALIGNED * ALIGNED

    # ---- the thread ----

    def _block(self) -> None:
        """Let no signal come in between; a call in the place of another leaves no room for one."""
        if not self._is_blocking:
            self._is_blocking = True
            self._ask(requests.block, ALL)

    def _in_place(self) -> bool:
        """Whether the call that begins is one of the thread's own kind."""
        return requests.call_info(self.thread).audit == self.layout.audit

    def _leave_call(self) -> None:
        """Come to where the call that begins is over, without having been done."""
        if self._begun:
            self._begun = False
            words = list(self.words)
            self.layout.skipped(words)
            self._set(words)
            if self.layout.begun is None:
                self._ask(requests.set_call, -1)
            self._run()

    def _run(self, to: int = requests.EXIT) -> None:
        """Let it go on to the end of a call, or to where one begins."""
        while True:
            number, self._signal = self._signal, 0
            self._ask(requests.resume_to_call, number)
            status = self._wait()
            event, number = requests.event(status), os.WSTOPSIG(status)
            if number == requests.SIGTRAP_AT_CALL:
                if requests.call_info(self.thread).where == to:
                    return
            elif event == requests.EVENT_STOP:
                self.stopped_again = True
            elif event == requests.EVENT_EXEC:
                self.replaced = True
                raise Gone
            elif not event:
                self._signals.append(number)
                if number != signal.SIGSTOP:  # a fault: it cannot make calls
                    raise OSError(14, f"{signal.Signals(number).name} in an injected call")

    def _restore(self) -> None:
        """As it was, and stopped as it was: see the facts."""
        self._set(self.words)
        if self._is_blocking:
            self._ask(requests.block, self._blocked)
        for number in self._signals:
            if number == signal.SIGSTOP:
                tgkill(proc.process(self.thread), self.thread, number)
        if self.stopped_again or not self._was_begun and self.layout.in_call(self.words):
            self._ask(requests.interrupt)
            if not self._was_begun:
                self._ask(requests.resume)
                self._wait()

    def _to_call(self) -> int:
        """Where an instruction is that makes a call."""
        if not self._instruction:
            before = self.words[self.layout.instruction] - self.layout.step()
            found = next(filter(self._makes_call, (before, self._found_before)), None)
            self._instruction = found or find_instruction(self.thread, self.layout)
        return self._instruction

    def _makes_call(self, address: int) -> bool:
        try:
            return memory.read(self.thread, address, self.layout.step()) in self.layout.calls
        except OSError:
            return False

    def _set(self, words: list[int]) -> None:
        self._ask(requests.set_registers, self.layout.pack(words))

    def _wait(self) -> int:
        try:
            status = self._waited()
        except ChildProcessError:  # another thread, which called execve(2), has its number
            raise Gone from None
        if not os.WIFSTOPPED(status):
            self.ended = status
            raise Gone
        return status

    def _waited(self) -> int:
        return os.waitpid(self.thread, requests.WALL)[1]

    def _ask(self, what: Callable[Concatenate[int, P], R], *args: P.args, **no: P.kwargs) -> R:
        try:
            return what(self.thread, *args, **no)
        except ProcessLookupError:  # it has been killed; what wait(2) says of it is for others
            raise Gone from None


def find_instruction(thread: int, layout: Layout) -> int:
    """The address of an instruction of the program that makes a call: first of the vdso.

    Raises:
        OSError: ENOEXEC, there is none.
    """
    with open(f"/proc/{thread}/maps") as maps:
        texts = [line.split(maxsplit=5) for line in maps if " r-xp " in line]
    for words in sorted(texts, key=lambda words: words[-1] != "[vdso]\n"):
        start, end = (int(each, 16) for each in words[0].split("-"))
        try:
            text = memory.read(thread, start, min(end - start, SEARCHED))
        except OSError:  # vsyscall
            continue
        for call in layout.calls:
            if (at := text.find(call)) >= 0:
                return start + at
    raise OSError(8, "no instruction that makes a call")
