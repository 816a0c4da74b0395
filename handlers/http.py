"""http: reach every peer through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6).

The peer needs nothing.
"""

from __future__ import annotations

import base64
import builtins
import errno
import socket
from dataclasses import dataclass

import h11

from tesla_trace.flow import (
    ADDRESS,
    Address,
    FlowHandler,
    Parser,
    Proxied,
    ProxiedDatagrams,
    ProxyOptions,
    failure,
    numeric,
    option,
    shown,
)

MOST = 16 * 1024
"""Bytes that the head of an answer may have, with all that comes before it (1xx)."""

REFUSALS = {
    403: errno.EACCES,
    404: errno.EHOSTUNREACH,  # it cannot find the host
    405: errno.EOPNOTSUPP,  # no CONNECT here
    407: errno.EACCES,  # it wants another password, or one at all
    408: errno.ETIMEDOUT,
    501: errno.EOPNOTSUPP,
    502: errno.ECONNREFUSED,
    503: errno.EHOSTUNREACH,
    504: errno.ETIMEDOUT,
}
"""What the program sees of a status; `OTHERS` has the rest."""

OTHERS = {4: errno.ECONNREFUSED, 5: errno.EHOSTUNREACH}
"""By the first digit of the status; any other is not an answer to CONNECT."""


class Http(Proxied):
    """Connect through an HTTP proxy, with CONNECT.

    The program sees the peer it asked for, and the proxy's refusal as the error of its connect;
    many proxies allow port 443 only.  Datagrams are refused, for they would not go through the
    proxy.

        tesla_trace +http=proxy:8080 -user=me -password-file=FILE curl example.org
    """

    name = "http"

    @dataclass(frozen=True)
    class Options(ProxyOptions):
        proxy: Address = option(ADDRESS, "127.0.0.1:8080", help="the proxy")

        def __post_init__(self) -> None:
            """Check that the proxy can be told this user."""
            super().__post_init__()
            if ":" in self.user:
                raise ValueError("-user cannot hold a colon, which ends it in HTTP (RFC 7617)")

    options: Options

    @classmethod
    def serving(cls, type: int) -> builtins.type[FlowHandler] | None:
        return HttpDatagrams if type == socket.SOCK_DGRAM else super().serving(type)

    def ask_for(self, target: Address) -> Parser:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST)
        self.below.write(self._request(http, target))
        # Said at once of what is no HTTP at all: h11 looks only at a head that is complete.
        start = yield 5
        if start != b"HTTP/":
            raise failure(errno.EPROTO, "this is no HTTP proxy")
        http.receive_data(start)
        left = MOST
        while not isinstance(event := _next(http), h11.Response):
            if event is h11.NEED_DATA:
                if not (left := left - 1):
                    raise failure(errno.EPROTO, "the proxy says too much before it says yes or no")
                # A byte at a time: what comes behind the head is the peer's, and must not get
                # into h11.
                http.receive_data((yield 1))
        if not 200 <= event.status_code < 300:
            raise _refusal(event)

    def _request(self, http: h11.Connection, target: Address) -> bytes:
        number, port = numeric(target[0]), target[1]
        place = shown((target[0] if number is None else str(number), port))
        headers = [("Host", place)]
        if self.options.user:
            login = base64.b64encode(b":".join(self.options.login)).decode()
            headers.append(("Proxy-Authorization", f"Basic {login}"))
        request = h11.Request(method="CONNECT", target=place, headers=headers)
        return b"".join(http.send(each) or b"" for each in (request, h11.EndOfMessage()))


class HttpDatagrams(ProxiedDatagrams):
    """Datagrams go nowhere but to where no proxy is needed."""

    name = "http"


def _next(http: h11.Connection) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    try:
        return http.next_event()
    except h11.RemoteProtocolError as wrong:
        raise failure(errno.EPROTO, f"the proxy's answer is not HTTP: {wrong}") from wrong


def _refusal(answer: h11.Response) -> OSError:
    status = answer.status_code
    number = REFUSALS.get(status) or OTHERS.get(status // 100, errno.EPROTO)
    words = bytes(answer.reason).decode("ascii", "backslashreplace")
    return failure(number, f"the proxy says {status} {words}".rstrip())
