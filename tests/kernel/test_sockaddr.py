import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesla_trace.kernel import sockaddr

ports = st.integers(0, 2**16 - 1)
four = st.ip_addresses(v=4).map(str)
six = st.ip_addresses(v=6)


@given(four, ports)
def test_ipv4_there_and_back(host, port):
    packed = sockaddr.pack((host, port), socket.AF_INET)
    assert len(packed) == sockaddr.IN_SIZE
    assert sockaddr.family(packed) == socket.AF_INET
    assert sockaddr.unpack(packed) == (host, port)


@given(six, ports, st.integers(0, 2**20 - 1), st.integers(0, 2**32 - 1))
def test_ipv6_there_and_back(host, port, flow, scope):
    text = socket.inet_ntop(socket.AF_INET6, host.packed)
    packed = sockaddr.pack((text, port, flow, scope), socket.AF_INET6)
    assert len(packed) == sockaddr.IN6_SIZE
    assert sockaddr.unpack(packed) == (text, port, flow, scope)


@given(four, ports)
def test_ipv4_on_an_ipv6_socket_is_mapped(host, port):
    packed = sockaddr.pack((host, port), socket.AF_INET6)
    assert sockaddr.unpack(packed) == (f"::ffff:{host}", port, 0, 0)


@pytest.mark.parametrize("host", ["example.org", "2001:db8::1"])
def test_what_a_socket_cannot_show_is_the_unspecified_address(host):
    assert sockaddr.unpack(sockaddr.pack((host, 80), socket.AF_INET)) == ("0.0.0.0", 80)
    assert sockaddr.unpack(sockaddr.pack(("name", 80), socket.AF_INET6)) == ("::", 80, 0, 0)


def test_as_the_kernel_writes_it():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        packed = sockaddr.pack(("127.0.0.1", port), socket.AF_INET)
    assert packed == b"\x02\0" + port.to_bytes(2, "big") + b"\x7f\0\0\x01" + bytes(8)


@given(st.binary(max_size=40))
def test_any_bytes_are_an_address_or_a_known_error(data):
    try:
        address = sockaddr.unpack(data)
    except OSError as wrong:
        assert wrong.errno in (errno.EINVAL, errno.EAFNOSUPPORT)
    else:
        assert sockaddr.family(data) == (socket.AF_INET if len(address) == 2 else socket.AF_INET6)


def test_the_least_an_ipv6_address_has():
    packed = sockaddr.pack(("::1", 80, 0, 7), socket.AF_INET6)
    assert sockaddr.unpack(packed[: sockaddr.IN6_LEAST]) == ("::1", 80, 0, 0)
    with pytest.raises(OSError, match="Invalid"):
        sockaddr.unpack(packed[: sockaddr.IN6_LEAST - 1])


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x02\0"])
def test_too_short(data):
    with pytest.raises(OSError):
        sockaddr.unpack(data)
