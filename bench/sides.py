"""The sides of the figures: what is between the client and the server."""

from __future__ import annotations

from dataclasses import dataclass

from bench.ends import (
    behind_stunnel,
    decrypts,
    directly,
    encrypts,
    over_crypt,
    plain,
    shakes_hands,
    through_haproxy,
    through_socat,
    through_splicer,
    through_stunnel,
    under_crypt,
    under_socks,
    under_us,
)
from bench.stage import Far, Near, Stage

ASIDE = "+fixtures.handlers:AsideOnceConnected"
"""A handler that wants no bytes, as socks does once it has reached its proxy."""


@dataclass(frozen=True)
class Side:
    """One line of a figure."""

    name: str
    far: Far
    near: Near
    encrypted: bool = False

    def command(self, stage: Stage) -> list[str]:
        """A client that is ready to be run.

        Raises:
            Missing: this machine does not have what it takes.
        """
        return self.near(stage, stage.wire(self.far))


NATIVE = Side("native", plain, directly)
TCP_PROXIES = (
    Side("TCP proxy: socat", plain, through_socat(unix=False)),
    Side("TCP proxy: haproxy", plain, through_haproxy(unix=False)),
)
UNIX_PROXIES = (
    Side("UNIX proxy: socat", plain, through_socat(unix=True)),
    Side("UNIX proxy: haproxy", plain, through_haproxy(unix=True)),
)
HANDED_BACK = Side("tesla_trace, handed back", plain, under_us(ASIDE))
SPLICED = Side("tesla_trace, spliced", plain, under_us("--datapath=splice", ASIDE))
HANDLED = Side("tesla_trace, through +dummy", plain, under_us("+dummy"))
BUILT_IN = Side("native, SOCKS built in", plain, shakes_hands)
SOCKS = Side("tesla_trace, +socks", plain, under_socks)
SPLICER = Side("a bare splice loop", plain, through_splicer)
STUNNELS = Side("a pair of stunnels", behind_stunnel, through_stunnel, encrypted=True)
CRYPTED = Side("tesla_trace, +crypt at both ends", over_crypt, under_crypt, encrypted=True)

SIDES = (
    NATIVE,
    *TCP_PROXIES,
    *UNIX_PROXIES,
    HANDED_BACK,
    SPLICED,
    HANDLED,
    Side("inside the program", decrypts, encrypts, encrypted=True),
    STUNNELS,
    CRYPTED,
)
"""What the figures show, in the order of their tables."""
