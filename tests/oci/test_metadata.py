"""What a container may say of its handlers."""

import pytest

from tesla_trace.cli.stacked import stacked
from tesla_trace.cli.words import Words
from tesla_trace.flow import UsageError
from tesla_trace.oci.metadata import Metadata


def chosen(allowed, text, *handlers):
    """The handlers that a container gets, by name."""

    def stack_of(words, harmless):
        given = Words(handlers=list(handlers if words is None else words))
        return given.handlers if stacked(given, harmless=harmless) else []

    return Metadata(allowed, stack_of, needed=not handlers)(text)


def test_what_is_not_looked_at():
    assert chosen("no", "+log", "+dummy") == ["+dummy"]
    assert chosen("no", "'", "+dummy") == ["+dummy"]


@pytest.mark.parametrize("allowed", ["ours", "any"])
def test_what_a_container_asks_for(allowed):
    words = chosen(allowed, "+socks=10.0.0.1:1080 -for='port 80' +log", "+dummy")
    assert words == ["+socks=10.0.0.1:1080", "-for=port 80", "+log"]
    assert chosen(allowed, " ", "+dummy") == ["+dummy"]
    with pytest.raises(UsageError, match="names no handlers"):
        chosen(allowed, "")
    with pytest.raises(UsageError, match="listenerMetadata"):
        chosen(allowed, "+log '")
    with pytest.raises(UsageError, match="nonsense"):
        chosen(allowed, "+nonsense")


def test_not_so_many_that_others_wait():
    assert chosen("ours", "+log " * 16) == ["+log"] * 16
    with pytest.raises(UsageError, match="more than 16"):
        chosen("ours", "+log " * 17)
    assert len(chosen("any", "+log " * 17)) == 17


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("+fixtures.handlers:Nobody", "only handlers of our own"),
        ("+socks=a:1 -user=x -password-file=/etc/shadow", "no file"),
        ("+socks=a:1 -user=x -password-file=env:SECRET", "no file"),
        ("+crypt=/etc/ssl/private/key.pem", "no file"),
        ("+crypt -key=/etc/ssl/private/key.pem", "no file"),
        ("+tls -ca=/etc/passwd", "no file"),
        ("+tls -cert=/etc/passwd", "no file"),
    ],
)
def test_no_code_and_no_files(text, why):
    with pytest.raises(UsageError, match=why):
        chosen("ours", text)
    try:
        chosen("any", text)
    except UsageError as wrong:  # there is no such file, or it is not good for that
        assert why not in str(wrong)
