import math

import pytest

from tesla_trace.flow import ADDRESS, RATE, SECONDS, SIZE, TEXT, choice, whole


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (SECONDS, "0.05", 0.05),
        (SECONDS, "50ms", 0.05),
        (SECONDS, "1.5s", 1.5),
        (SECONDS, "1us", 1e-6),
        (SIZE, "0", 0),
        (SIZE, "1500", 1500),
        (SIZE, "16KiB", 16384),
        (SIZE, "1MB", 10**6),
        (SIZE, "2GiB", 2**31),
        (RATE, "500", 500),
        (RATE, "500kB", 500_000),
        (RATE, "1MB", 10**6),
        (RATE, "1MiB", 2**20),
        (RATE, "10Mbit", 1_250_000),
        (RATE, "1Gbit", 125_000_000),
        (RATE, "unlimited", math.inf),
        (ADDRESS, "127.0.0.1:1080", ("127.0.0.1", 1080)),
        (ADDRESS, "[2001:db8::1]:443", ("2001:db8::1", 443, 0, 0)),
        (ADDRESS, "localhost:80", ("localhost", 80)),
        (ADDRESS, "www.example-1.org.:65535", ("www.example-1.org.", 65535)),
        (ADDRESS, "3com.com:1", ("3com.com", 1)),
        (ADDRESS, "_dns.resolver_1:53", ("_dns.resolver_1", 53)),
        (TEXT, "", ""),
        (TEXT, " any thing=", " any thing="),
        (choice("5", "4", "4a"), "4a", "4a"),
        (whole(1, 9), "9", 9),
    ],
)
def test_values(kind, given, value):
    assert kind.read(given) == value


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        *((SECONDS, given) for given in ("", "s", "-1", "1e3", "nan", "inf", "1h", "1 s", "50MS")),
        *((SIZE, given) for given in ("", "1Mbit", "big", "1.", "0x10", "-5")),
        *((RATE, given) for given in ("", "0", "0kB", "1mB", "1kb", "1MB/s", "Unlimited", "inf")),
        *((ADDRESS, given) for given in ("", "10.0.0.9", "10.0.0.9:", "10.0.0.9:0", ":1080")),
        *((ADDRESS, given) for given in ("10.0.0.9:65536", "10.0.0.9:x", "10.9:80")),
        *((ADDRESS, given) for given in ("[10.0.0.9]:1", "2001:db8::1:443", "10.0.0.9:+80")),
        *((ADDRESS, given) for given in ("-host:80", "host-:80", "a..b:80", "a b:80", "hôte:80")),
        *(
            (ADDRESS, given)
            for given in ("host", "[host]:80", "a/b:80", "x" * 254 + ":80", "::1:8")
        ),
        *((choice("5", "4"), given) for given in ("", "6", "54", "5 ")),
        *((whole(1, 9), given) for given in ("0", "10", "x", "1.5", "", "+1", "²")),
    ],
)
def test_values_that_are_not(kind, given):
    with pytest.raises(ValueError):
        kind.read(given)


def test_a_choice_shows_what_there_is():
    kind = choice("5", "4", "4a")
    assert kind.metavar == "5|4|4a" and kind.accepts == "one of 5, 4, 4a"
