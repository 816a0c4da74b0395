"""What the handlers of a flow tell a program that knows of them, without being asked.

The program asks for it with a call that gives a descriptor.  What is told before is kept for it, as
far as there is room, and so is what comes while it does not read: nothing blocks a handler, and the
program learns how many were lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from tesla_trace.flow.handler import FlowHandler

WAITING = 64
"""Events kept until the program asks for them."""

LARGEST = 4096
"""Bytes of an event."""


class Event(NamedTuple):
    """One thing told."""

    teller: FlowHandler
    kind: int
    """What it is, by the teller's own count."""
    data: bytes


class Outlet(Protocol):
    """The way to the program."""

    def put(self, event: Event, lost: int) -> bool:
        """Tell it, and how many were lost before it; False if there is no room."""

    def close(self) -> None:
        """Nothing more will come."""


class Events:
    """The events of one flow."""

    def __init__(self) -> None:
        self._waiting: list[Event] = []
        self._outlet: Outlet | None = None
        self._lost = 0
        self._over = False

    def tell(self, event: Event) -> None:
        """Pass it to the program, keep it, or count it as lost.

        Raises:
            ValueError: it is larger than `LARGEST`.
        """
        if len(event.data) > LARGEST:
            raise ValueError(f"an event has at most {LARGEST} bytes, not {len(event.data)}")
        if self._over:
            return
        if self._outlet is None and len(self._waiting) < WAITING and not self._lost:
            self._waiting.append(event)
        elif self._outlet is None or not self._outlet.put(event, self._lost):
            self._lost += 1
        else:
            self._lost = 0

    def open(self, outlet: Outlet) -> None:
        """Tell them there from now on, and no more where they were told before."""
        if self._outlet is not None:
            self._outlet.close()
        self._outlet = outlet
        waiting, self._waiting, lost, self._lost = self._waiting, [], self._lost, 0
        for event in waiting:
            self.tell(event)
        self._lost += lost

    def left(self, outlet: Outlet) -> None:
        """The program listens there no more; it may ask again."""
        if self._outlet is outlet:
            self._outlet = None
            outlet.close()

    def close(self) -> None:
        """The flow is over."""
        self._over = True
        self._waiting.clear()
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None
