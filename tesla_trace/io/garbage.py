"""When Python's collector of cycles looks at everything.

Facts (CPython 3.11), and what they mean for us:

- What a flow is made of refers to each other in circles, some 80 objects, and nothing but the
  collector frees them once the flow is over.
- It looks at all objects that are old whenever a quarter as many have become old since: 40 µs for
  each open flow.  While ten thousand flows were opened it did so eight times, 140 µs for each of
  them, with nothing to free; the last time took 0.4 s, in which nothing was served.
- Of a flow that was open when the second of three generations was looked at, the objects are old;
  those of a shorter one are freed with the young ones.  So what there is to free among the old ones
  is known, flows that are over, and everything is looked at when they are worth it.  By itself the
  collector does so only if very much else has become old, say the garbage of a handler.
"""

from __future__ import annotations

import gc

from tesla_trace.flow import Flow
from tesla_trace.io.loop import Loop

THRESHOLDS = 10_000, 10, 20
"""Of the generations, see gc.set_threshold: young are the objects of some 100 flows, and everything
is looked at once two millions are there that were not."""

LEAST = 500
"""Flows that are over whose objects may stay: some 6 MB."""

SHARE = 0.5
"""Of the open flows, how many are over when everything is looked at."""

SOON = 0.01
"""Seconds until then."""


class Garbage:
    """What is left in memory of flows that are over."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._newest = self._old = 0
        self._over = 0
        self._due = False

    def start(self) -> None:
        """Let the collector run; what is there now stays, and need not be looked at again."""
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self.collected)
        gc.enable()

    def begun(self, flow: Flow) -> None:
        """A flow has been made; the numbers of flows rise."""
        self._newest = flow.number

    def over(self, flow: Flow, open: int) -> None:
        """A flow is over, and so many are open."""
        if flow.number > self._old:
            return
        self._over += 1
        if self._over >= max(LEAST, open * SHARE) and not self._due:
            self._due = True
            # With all that end in this turn; whoever ends them holds on to them until then.
            self._loop.at(self._loop.now() + SOON, self._collect)

    def _collect(self) -> None:
        self._due = False
        gc.collect()

    def collected(self, phase: str, info: dict[str, int]) -> None:
        """What all flows of now are made of is old; see `gc.callbacks`."""
        if phase == "stop" and info["generation"] > 0:
            self._old = self._newest
            if info["generation"] == 2:
                self._over = 0
