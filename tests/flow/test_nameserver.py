"""What the name server says, whatever it is asked."""

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.update
import pytest
from dns.rcode import BADVERS, FORMERR, NOERROR, NOTIMP, NXDOMAIN, REFUSED
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tesla_trace.flow.kinds import NAME
from tesla_trace.flow.names import Names
from tesla_trace.flow.nameserver import ROOM, TTL, answer


@pytest.fixture
def names():
    return Names()


def ask(names, name, kind="A", **how):
    """The answer to a question; what holds for all of them is checked."""
    query = dns.message.make_query(name, kind, **how)
    data = answer(query.to_wire(), names)
    assert len(data) <= 512
    reply = dns.message.from_wire(data)
    assert query.is_response(reply) and reply.question == query.question
    assert reply.flags & dns.flags.RA and reply.flags & dns.flags.RD
    assert not reply.flags & (dns.flags.TC | dns.flags.AA | dns.flags.AD)
    return reply


def found(reply):
    return [(str(s.name), s.ttl, str(each)) for s in reply.answer for each in s]


def test_every_name_has_an_address_of_each_kind(names):
    given = names.invent("example.org")
    reply = ask(names, "example.org", "A")
    assert found(reply) == [("example.org.", TTL, str(given.ipv4))]
    reply = ask(names, "example.org", "AAAA")
    assert found(reply) == [("example.org.", TTL, str(given.ipv6))]
    assert len(found(ask(names, "example.org", "ANY"))) == 2


def test_a_name_is_answered_as_it_was_written(names):
    """A resolver that writes names in mixed case, against forgery, compares (0x20)."""
    query = dns.message.make_query("eXaMpLe.oRG", "A").to_wire()
    data = answer(query, names)
    assert query[12:] in data and data[:2] == query[:2]
    assert found(dns.message.from_wire(data))[0][2] == str(names.invent("example.org").ipv4)


@pytest.mark.parametrize("kind", "MX TXT SRV HTTPS SVCB NS SOA CNAME CAA PTR TYPE65280".split())
def test_of_other_types_there_is_no_data(names, kind):
    reply = ask(names, "example.org", kind)
    assert reply.rcode() == NOERROR and not reply.answer


@pytest.mark.parametrize("kind", ["A", "NS", "SOA"])
def test_the_root_exists(names, kind):
    reply = ask(names, ".", kind)
    assert reply.rcode() == NOERROR and not reply.answer


@pytest.mark.parametrize("name", ["localhost", "LocalHost.", "any.localhost"])
def test_localhost_is_this_machine(names, name):
    assert found(ask(names, name, "A"))[0][2] == "127.0.0.1"
    assert found(ask(names, name, "AAAA"))[0][2] == "::1"
    assert ask(names, name, "MX").rcode() == NOERROR


@pytest.mark.parametrize(
    "name",
    [
        "a b.example.org",
        "-a.example.org",
        r"a\.b.example.org",
        r"a\000b.example.org",
        r"h\195\180te.example.org",
        "use-application-dns.net",
        "USE-application-dns.net",
        "ipv4only.arpa",
        "resolver.arpa",
        "any.invalid",
        "192.0.2.7",
        "127.1",
        "2130706433",
        "0x7f000001",
    ],
)
@pytest.mark.parametrize("kind", ["A", "AAAA", "MX"])
def test_what_no_proxy_can_be_told_is_no_name(names, name, kind):
    assert ask(names, name, kind).rcode() == NXDOMAIN


@pytest.mark.parametrize(
    "name", ["a", "a_b.example", "_sip._tcp.example", "xn--hte-5na.example", "7.example", "a.b-"]
)
def test_what_a_proxy_can_be_told_is_a_name(names, name):
    assert NAME.fullmatch(name) and len(found(ask(names, name))) == 1


def test_an_address_of_ours_has_its_name(names):
    given = names.invent("Example.org")
    for number in (given.ipv4, given.ipv6):
        reply = ask(names, number.reverse_pointer, "PTR")
        assert [text for _, _, text in found(reply)] == ["example.org."]
        assert ask(names, number.reverse_pointer, "A").rcode() == NOERROR


@pytest.mark.parametrize(
    "name",
    [
        "1.2.0.192.in-addr.arpa",
        "9.9.19.198.in-addr.arpa",
        "18.198.in-addr.arpa",
        "x.in-addr.arpa",
        "in-addr.arpa",
        "1." * 31 + "2.ip6.arpa",
        "ip6.arpa",
        "g.ip6.arpa",
    ],
)
def test_of_other_addresses_nobody_is_asked(names, name):
    assert ask(names, name, "PTR").rcode() == NXDOMAIN


def test_edns_is_answered_with_edns(names):
    assert ask(names, "example.org").edns == -1
    reply = ask(names, "example.org", use_edns=0, payload=4096, want_dnssec=True)
    assert (reply.edns, reply.payload, bool(reply.ednsflags & dns.flags.DO)) == (0, ROOM, True)
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    reply = ask(names, "example.org", use_edns=0, options=[cookie])
    assert reply.edns == 0 and reply.options == () and found(reply)
    reply = ask(names, "example.org", use_edns=1)
    assert reply.rcode() == BADVERS and not reply.answer


def test_who_checks_nothing_is_told_so(names):
    query = dns.message.make_query("example.org", "A", flags=dns.flags.RD | dns.flags.CD)
    assert dns.message.from_wire(answer(query.to_wire(), names)).flags & dns.flags.CD


def test_who_wants_no_recursion_gets_the_same(names):
    query = dns.message.make_query("example.org", "A", flags=0)
    reply = dns.message.from_wire(answer(query.to_wire(), names))
    assert found(reply) and not reply.flags & dns.flags.RD


@pytest.mark.parametrize(
    ("name", "kind", "rdclass"),
    [("version.bind", "TXT", "CH"), ("example.org", "AXFR", "IN"), ("example.org", "A", "ANY")],
)
def test_what_is_not_for_a_resolver_is_refused(names, name, kind, rdclass):
    query = dns.message.make_query(name, kind, rdclass)
    reply = dns.message.from_wire(answer(query.to_wire(), names), one_rr_per_rrset=True)
    assert reply.rcode() == REFUSED and reply.question == query.question


HEADER = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
QUESTION = b"\x07example\x03org\x00\x00\x01\x00\x01"


@pytest.mark.parametrize(
    "query",
    [
        HEADER,
        HEADER + QUESTION[:-1],
        HEADER + b"\xc0\x0c\x00\x01\x00\x01",
        HEADER + QUESTION + b"x",
        HEADER[:5] + b"\x02" + HEADER[6:] + QUESTION + QUESTION,
        HEADER[:5] + b"\x00" + HEADER[6:],
        HEADER + b"\x40" + QUESTION[1:],
    ],
)
def test_a_broken_question_is_a_format_error(names, query):
    data = answer(query, names)
    assert data == b"\x12\x34\x81\x80"[:3] + bytes([0x80 | FORMERR]) + bytes(8)


@pytest.mark.parametrize("query", [b"", HEADER[:11], HEADER[:2] + b"\x81\x80" + HEADER[4:]])
def test_what_is_no_question_is_not_answered(names, query):
    assert answer(query, names) is None


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6])
def test_other_operations_are_not_done(names, opcode):
    query = HEADER[:2] + bytes([opcode << 3]) + HEADER[3:] + QUESTION
    reply = dns.message.from_wire(answer(query, names))
    assert (reply.id, reply.opcode(), reply.rcode()) == (0x1234, opcode, NOTIMP)


def test_a_signed_question_is_a_format_error(names):
    """As from a server that knows no keys."""
    tsig = b"\x03key\x00\x00\xfa\x00\xff" + bytes(4) + b"\x00\x10" + bytes(16)
    query = HEADER[:11] + b"\x01" + QUESTION + tsig
    assert dns.message.from_wire(answer(query, names)).rcode() == FORMERR


def test_who_asks_is_heard(names):
    heard = []
    query = dns.message.make_query(r"Example\010.org", "A").to_wire()
    answer(query, names, heard.append)
    assert heard == [r"Example\010.org"], "fit for a log"


@settings(max_examples=500)
@given(
    st.one_of(
        st.binary(max_size=600),
        st.binary(max_size=80).map(lambda rest: HEADER + rest),
        st.binary(max_size=80).map(lambda rest: HEADER[:11] + b"\1" + QUESTION + rest),
        st.tuples(st.binary(min_size=10, max_size=10), st.binary(max_size=60)).map(
            lambda parts: HEADER[:2] + parts[0] + parts[1]
        ),
    )
)
@example(HEADER + b"\xff" * 50)
def test_garbage_gets_an_answer_or_none(query):
    data = answer(query, Names())
    if data is not None:
        reply = dns.message.from_wire(data)
        assert data[:2] == query[:2] and reply.flags & dns.flags.QR and len(data) <= 512


@given(
    st.lists(st.binary(min_size=1, max_size=63), max_size=6),
    st.sampled_from([1, 28, 255, 12, 15, 65]),
)
def test_any_question_is_repeated_exactly(labels, kind):
    name = b"".join(bytes([len(each)]) + each for each in labels) + b"\0"
    query = HEADER + name + kind.to_bytes(2, "big") + b"\x00\x01"
    data = answer(query, Names())
    if len(name) <= 255:
        assert data[12 : len(query)] == query[12:] and len(data) <= 512
        assert dns.message.from_wire(data).rcode() in (NOERROR, NXDOMAIN)
    else:
        assert dns.message.from_wire(data).rcode() == FORMERR
