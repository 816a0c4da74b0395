"""Trapping by ptrace(2): where no filter can notify us.

Facts, and what they mean for us:

- Whoever traces a process hears of all that happens to it by wait(2), its end too, and hears of
  everything once.  So with this back end nobody else of us may wait for a child: what concerns the
  program as our child is passed on.
- SIGCHLD tells that there is something to hear, once for several things; so each time all is heard.
- A thread that executes another program takes the number of its process, and all other threads of
  that are gone, without a word of most.
- The first thread of a process that has died tells of it when all others are gone, and those that
  are traced are when we have heard so.  Who waited for the first one alone would wait for ever.
- A process that was stopped by a signal tells of that thread by thread, and is left there with
  PTRACE_LISTEN; when it is continued each tells of that too.
- A new thread may tell of its first stop before the one that made it tells of it, or after.
- Under a filter of somebody else that notifies him of the same calls, ours would never be asked:
  then every call stops, and the conditions are looked at here.  So are they where no filter is
  allowed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable

from tesla_trace.kernel import pending, proc
from tesla_trace.kernel.arches import MULTIPLEXER, Arch, arches
from tesla_trace.kernel.filter import REFUSED, Rule, numbers
from tesla_trace.kernel.pending import STOPS
from tesla_trace.kernel.ptrace import requests
from tesla_trace.kernel.ptrace.stop import PtraceStop
from tesla_trace.kernel.ptrace.tracee import Tracee
from tesla_trace.kernel.thread import Threads
from tesla_trace.kernel.trap import Gone

SPIN = 50e-6
"""Seconds that we look for the next call without sleeping: to be woken takes about as long."""

REST = 16
"""Calls after one that none came so soon after, until we look again."""

X32 = 0x40000000
"""The bit that tells calls of the x32 kind from those of x86-64."""

CONTINUED = 0xFFFF
"""The wait status of a child that was continued."""

NOTHING = (0, 0)
LOOK = requests.WALL | os.WNOHANG

AT_FILTER = requests.EVENT_SECCOMP << 16 | signal.SIGTRAP << 8 | 0x7F
"""The wait status of a thread that a filter has stopped."""

Changed = Callable[[int], object]


class PtraceTrap:
    """The calls of a program that this thread of ours traces.

    Args:
        program: the program's number; it has been seized.
        children: readable when SIGCHLD has arrived; ours from now on.
        changed: told the wait status when the program stops, continues or ends; while this is told
            of its first thread, that is held.
        everywhere: there is no filter, and every call stops.
        epolls: whether the program may have started with epoll descriptors.
    """

    def __init__(
        self,
        program: int,
        rules: Iterable[Rule],
        children: int,
        changed: Changed,
        *,
        everywhere: bool = False,
        epolls: bool = True,
    ) -> None:
        self._program = program
        self._children = children
        self._changed = changed
        self._everywhere = everywhere
        self._calls = numbers(rules := list(rules))
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.call, []).append(rule)
        self._arches = {arch.audit: arch for arch in arches()}
        machine = arches()[0]
        self._wide_calls = self._calls[machine.audit] if machine.word == 8 else {}
        self._usual = requests.SECCOMP, machine.audit
        """How a stop begins that a filter has made, at a call as the machine's own programs do."""
        self._refused = {arch.audit: set(map(arch.number, REFUSED)) for arch in arches()}
        self._filters = int(proc.status(program).get("Seccomp_filters", "0"))
        self._tracees = {program: Tracee(program, everywhere=everywhere, filters=self._filters)}
        self._events: deque[tuple[int, int]] = deque()
        self._started = False
        self._vain = 0
        """Calls after which we are not to look for the next one without sleeping."""
        self._over = False
        """Whether nobody is left to hear of."""
        self._threads = Threads()
        if epolls:
            self._threads.making_epoll(0)

    def fileno(self) -> int:
        """Readable when `next` has something to say."""
        return self._children

    def start(self) -> None:
        """See the program through to where it has been executed, or has failed to be."""
        while not self._started:
            self._happened(*os.waitpid(self._program, requests.WALL))

    def next(self) -> PtraceStop | None:
        """See `trap.Trap`."""
        if not self._events and (alone := self._hear()) is not None:
            return alone
        while self._events:
            stop = self._happened(*self._events.popleft())
            if stop is not None:
                if self._events:
                    os.kill(os.getpid(), signal.SIGCHLD)
                return stop
        if self._over:
            raise EOFError
        return None

    def linger(self) -> None:
        """See `trap.Trap`.  What is seen here `next` gives: SIGCHLD tells of it, as of all."""
        if self._vain:
            self._vain -= 1
            return
        end = time.monotonic() + SPIN
        while (event := self._look()) == NOTHING:
            if time.monotonic() > end:
                self._vain = REST
                return
            os.sched_yield()  # whoever wants this CPU has it
        self._events.append(event)

    def close(self) -> None:
        """See `trap.Trap`."""
        os.close(self._children)

    def _hear(self) -> PtraceStop | None:
        """Hear all there is; of a thread that is alone, whose one event is a call, gives that."""
        try:
            os.read(self._children, 128)
        except BlockingIOError:
            pass
        event = self._look()
        if event[1] == AT_FILTER and len(self._tracees) == 1:
            return self._happened(*event)  # it has no more to tell while it is stopped
        while event != NOTHING:
            self._events.append(event)
            event = self._look()
        return None

    def _look(self) -> tuple[int, int]:
        """The next wait status that there is to hear of, and whose."""
        try:
            return os.waitpid(-1, LOOK)
        except ChildProcessError:
            self._over = True
            return NOTHING

    def _happened(self, thread: int, status: int) -> PtraceStop | None:
        """Do what a wait status asks for; gives a stop at a call that is trapped."""
        if status == AT_FILTER:
            try:
                return self._at_call(self._tracees.get(thread) or self._expect(thread))
            except ProcessLookupError:
                return None
        if not os.WIFSTOPPED(status):
            self.ended(thread, status)
            return None
        tracee = self._expect(thread)
        event, number = requests.event(status), os.WSTOPSIG(status)
        try:
            if number == requests.SIGTRAP_AT_CALL:
                return self._at_call(tracee)
            if event == requests.EVENT_STOP:
                self._stopped(tracee, number)
            elif event == requests.EVENT_EXEC:
                self._executed(tracee)
            elif event:
                self._expect(requests.message(thread))
                tracee.go()
            else:
                self._signalled(tracee, number)
        except ProcessLookupError:
            return None  # killed meanwhile; its end is still to be heard
        return None

    def _expect(self, thread: int) -> Tracee:
        """A thread that is there, or has been told to be."""
        tracee = self._tracees.get(thread)
        if tracee is None:
            tracee = Tracee(thread, everywhere=self._everywhere, filters=self._filters)
            self._tracees[thread] = tracee
        return tracee

    def _at_call(self, tracee: Tracee) -> PtraceStop | None:
        info = requests.call_info(tracee.thread)
        if info[:2] == self._usual and not tracee.passing and tracee.at_end is None:
            call = self._wide_calls.get(info.number)
            if call is not None:
                return PtraceStop(tracee, self._threads, info, call, 8, self)
        if info.where == requests.EXIT:
            at_end, tracee.at_end = tracee.at_end, None
            (at_end or tracee.go)()
            return None
        if tracee.passing or tracee.at_end is not None:
            tracee.passing = tracee.passing and info.where == requests.ENTRY
            tracee.go()
            return None
        if info.where == requests.ENTRY and not self._everywhere:
            tracee.go()
            return None
        arch = self._arches.get(info.audit)
        call = self._calls.get(info.audit, {}).get(info.number)
        if arch is None or call is None:
            self._untrapped(tracee, info, arch)
            return None
        stop = PtraceStop(tracee, self._threads, info, call, arch.word, self)
        if call == MULTIPLEXER:
            if stop.args[0] not in arch.subcalls:
                stop.proceed()
                return None
            return self._unfolded(stop, arch)
        if self._everywhere and not any(rule.holds(info.args) for rule in self._rules[call]):
            stop.proceed()
            return None
        return stop

    def _untrapped(self, tracee: Tracee, info: requests.CallInfo, arch: Arch | None) -> None:
        """A call that no rule names, by one that stops at all of them."""
        x32 = arch is not None and arch.word == 8 and info.number & X32 and not info.number >> 31
        if arch is None or x32 or info.number in self._refused[arch.audit]:
            tracee.answer(info.audit, -errno.ENOSYS, over=False)
        else:
            tracee.go()

    def _unfolded(self, stop: PtraceStop, arch: Arch) -> PtraceStop | None:
        try:
            stop.unfold(arch.subcalls)
        except Gone:
            return None
        except OSError as wrong:
            stop.fail(errno.EACCES if wrong.errno == errno.EPERM else wrong.errno or errno.EIO)
            return None
        if stop.call not in self._rules:
            stop.proceed()
            return None
        return stop

    def of(self, thread: int) -> int:
        """See `stop.Events`."""
        for event in self._events:
            if event[0] == thread:
                self._events.remove(event)
                return event[1]
        while True:
            event = os.waitpid(-1, requests.WALL)
            if event[0] == thread:
                return event[1]
            self._events.append(event)

    def _signalled(self, tracee: Tracee, number: int) -> None:
        """A signal is about to be delivered."""
        stop = tracee.stop
        if stop is not None and stop.asleep and pending.does(tracee.thread, number):
            stop.signal = number  # whoever holds the call sees it
        else:
            tracee.go(number)

    def _stopped(self, tracee: Tracee, number: int) -> None:
        """A stop of the whole process, its end, or one for us."""
        is_program = tracee.thread == self._program
        if number in STOPS:
            if is_program:
                self._changed(number << 8 | 0x7F)
            tracee.listen()
            return
        if tracee.listening:
            tracee.listening = False
            if is_program:
                self._changed(CONTINUED)
        tracee.go()

    def is_stopping(self, process: int) -> bool:
        """See `stop.Events`."""
        listening = (each.thread for each in self._tracees.values() if each.listening)
        return any(thread in proc.threads(process) for thread in listening)

    def replaced(self, thread: int) -> None:
        """See `stop.Events`."""
        with contextlib.suppress(ProcessLookupError):
            self._executed(self._expect(thread))

    def _executed(self, tracee: Tracee) -> None:
        before = requests.message(tracee.thread)
        if before != tracee.thread:  # another thread, which has taken the number of its process
            self._drop(before)
        tracee.stop, tracee.passing, tracee.at_end = None, False, None
        self._started = self._started or tracee.thread == self._program
        tracee.go()

    def ended(self, thread: int, status: int) -> None:
        """See `stop.Events`."""
        self._drop(thread)
        if thread == self._program:
            self._started = True
            self._changed(status)

    def _drop(self, thread: int) -> None:
        tracee = self._tracees.pop(thread, None)
        if tracee is not None:
            tracee.stop = None
        self._threads.forget(thread)
