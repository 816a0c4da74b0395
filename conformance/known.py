"""Differences that are to stay, each with the reason in the kernel; docs/limits.md lists them."""

from __future__ import annotations

from fnmatch import fnmatchcase

KNOWN: dict[str, str] = {
    "test.test_epoll.TestEPoll.test_control_and_wait": (
        "on loopback TCP delivers within send(2), a pair's bytes pass through us; and AF_UNIX says"
        " EPOLLOUT, edge-triggered, each time that some were taken out"
    ),
    "test.test_socket.NetworkConnectionAttributesTest.testSourceAddress": (
        "a race in the test: its clean-up closes the socket while its other thread may still ask"
        " for the name; natively, too, it fails where getsockname(2) takes 20 ms"
    ),
    "test.test_asyncio.test_streams.StreamTests.test_unclosed_resource_warnings": (
        "on loopback TCP delivers an end within close(2), a pair's passes through us; so a test"
        " before it ends its loop with a server's socket open, whose warning comes here"
    ),
}
"""By the name of the test, or a pattern of names."""


def reason(test: str) -> str | None:
    """Why the outcome of a test may differ; None if it may not."""
    for pattern, why in KNOWN.items():
        if fnmatchcase(test, pattern):
            return why
    return None
