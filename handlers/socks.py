"""socks: reach every peer through a SOCKS proxy.  The peer needs nothing."""

from __future__ import annotations

import builtins
import socket

from tesla_trace.flow import Address, FlowHandler, Parser, Proxied
from tesla_trace.handlers._socks import CONNECT, SocksOptions, ask_4, ask_5, log_in, unpacked
from tesla_trace.handlers._socks_relay import Associate


class Socks(Proxied):
    """Connect through a SOCKS proxy, version 5, 4 or 4a.

    The program sees the peer it asked for, and the proxy's refusal as the error of its connect.
    Datagrams go through the proxy's relay (UDP ASSOCIATE), with version 5.  An IPv6 destination
    with version 4 or 4a is refused.  Two +socks in a row are a chain: the first reaches its proxy
    through the second.

    With version 4 and 4a -user is the user id that the proxy is told, and there is no password.

        tesla_trace +socks=proxy:1080 -user=me -password-file=FILE curl example.org
    """

    name = "socks"

    Options = SocksOptions
    options: SocksOptions

    @classmethod
    def serving(cls, type: int) -> builtins.type[FlowHandler] | None:
        return Associate if type == socket.SOCK_DGRAM else super().serving(type)

    def ask_for(self, target: Address) -> Parser:
        write = self.below.write
        if self.options.version == "5":
            yield from log_in(write, self.options)
            bound = unpacked(*(yield from ask_5(write, CONNECT, target)))
            self.bound = bound if bound[1] else None  # many say 0.0.0.0:0
        else:
            yield from ask_4(write, self.options, target)
