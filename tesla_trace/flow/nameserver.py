"""A name server that knows every name: it invents the addresses (names.py).

The far end that will look a name up, a proxy say, can be told it, but not asked about it.  So all
that is answered is that there is such a name, and where to connect; of all other types, be it MX,
TXT or HTTPS, there is no data.  What no far end could be told is no name (NXDOMAIN).

Otherwise this is a recursive server as RFC 1035 has it, with EDNS (RFC 6891); an answer has room in
any datagram.  Garbage is answered as others answer it: a format error, where it can be told whose
question that was, or nothing.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset
from dns.rdataclass import IN
from dns.rdatatype import AAAA, ANY, AXFR, IXFR, PTR, A, RdataType

from tesla_trace.flow.kinds import NAME
from tesla_trace.flow.names import Names

TTL = 60
"""Seconds that an answer may be kept.  Asking again costs next to nothing."""

ROOM = 1232
"""Bytes of datagram that we say we take, as other servers do (DNS flag day 2020)."""

NOWHERE = (
    "use-application-dns.net",  # that it is missing tells Firefox to keep to its resolver
    "arpa",  # ipv4only.arpa would tell that IPv4 can be had through IPv6 (RFC 7050), and so on
    "invalid",  # RFC 6761
)
"""These, and all names under them, do not exist, though they could be told to a proxy."""

NUMBER = re.compile(r"(^|\.)([0-9]+|0x[0-9a-f]*)$")
"""The end of what inet_aton(3) takes for an address: `127.1`, `0x7f000001`."""

LOOPBACK = ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")
"""Of localhost and all names under it (RFC 6761): they never leave the machine."""

HEADER = struct.Struct("!HH8x")

REVERSE = (dns.reversename.ipv4_reverse_domain, dns.reversename.ipv6_reverse_domain)

Records = list[dns.rdata.Rdata]


def answer(query: bytes, names: Names, heard: Callable[[str], object] = str) -> bytes | None:
    """What a server answers to one message; None where it would keep silent.

    Args:
        heard: called with each name that is asked for, in a form fit for a log.
    """
    if len(query) < 12:
        return None
    number, flags = HEADER.unpack_from(query)
    if flags & dns.flags.QR:
        return None
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        return _bare(number, flags, dns.rcode.NOTIMP)
    try:
        asked = dns.message.from_wire(query)
        if len(asked.question) != 1:
            raise dns.exception.FormError
        reply = dns.message.make_response(asked, recursion_available=True, our_payload=ROOM)
    except dns.exception.DNSException:
        return _bare(number, flags, dns.rcode.FORMERR)
    reply.flags |= asked.flags & dns.flags.CD
    reply.ednsflags |= asked.ednsflags & dns.flags.DO
    if asked.edns > 0:
        reply.set_rcode(dns.rcode.BADVERS)
        return reply.to_wire()
    (question,) = asked.question
    if question.rdclass != IN or question.rdtype in (AXFR, IXFR):
        reply.set_rcode(dns.rcode.REFUSED)
        return reply.to_wire()
    heard(question.name.to_text(omit_final_dot=True))
    found = _records(question.name, question.rdtype, names)
    if found is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    for record in found or ():
        reply.answer.append(dns.rrset.from_rdata(question.name, TTL, record))
    return reply.to_wire()


def _records(name: dns.name.Name, kind: RdataType, names: Names) -> Records | None:
    """What there is of this type; None where there is no such name at all."""
    if any(name.is_subdomain(each) for each in REVERSE):
        return _pointer(name, kind, names)
    if name == dns.name.root:
        return []
    text = name.to_text(omit_final_dot=True).lower()
    if not NAME.fullmatch(text) or NUMBER.search(text) or any(_under(text, n) for n in NOWHERE):
        return None
    if kind not in (A, AAAA, ANY):
        return []
    if _under(text, "localhost"):
        ipv4, ipv6 = LOOPBACK
    else:
        _, ipv4, ipv6 = names.invent(text)
    found = ((A, ipv4.packed), (AAAA, ipv6.packed))
    return [_record(each, data) for each, data in found if kind in (each, ANY)]


def _pointer(name: dns.name.Name, kind: RdataType, names: Names) -> Records | None:
    """The name of an address of ours; of the others nobody is asked."""
    try:
        known = names.name(dns.reversename.to_address(name))
    except dns.exception.DNSException:
        return None
    if known is None:
        return None
    return [_record(PTR, dns.name.from_text(known).to_digestable())] if kind in (PTR, ANY) else []


def _record(kind: RdataType, data: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire(IN, kind, data, 0, len(data))


def _under(name: str, top: str) -> bool:
    return name == top or name.endswith("." + top)


def _bare(number: int, flags: int, rcode: int) -> bytes:
    """An answer that does not repeat the question, for it may be the question that is wrong."""
    kept = flags & (0xF << 11 | dns.flags.RD)  # the operation, and whether recursion is desired
    return HEADER.pack(number, dns.flags.QR | dns.flags.RA | kept | rcode)
