import pytest

from tesla_trace.flow import UsageError, parse
from tesla_trace.handlers.socks import Socks


@pytest.fixture(scope="module")
def password(tmp_path_factory):
    """The words for a user and his password."""
    path = tmp_path_factory.mktemp("socks") / "password"
    path.write_text("sesame\n")
    return ["-user=me", f"-password-file={path}"]


def read(*words):
    ((_, options),) = parse(["+socks", *words], {"socks": Socks})
    return options


def test_the_first_option_is_the_proxy():
    ((_, options),) = parse(["+socks=proxy:1081"], {"socks": Socks})
    assert options.proxy == ("proxy", 1081) and read().proxy == ("127.0.0.1", 1080)
    assert (options.version, options.user, options.password_file) == ("5", "", None)
    assert (options.timeout, options.loopback) == (30, False)


def told(*words):
    with pytest.raises(UsageError) as error:
        read(*words)
    return str(error.value)


@pytest.mark.parametrize(("size", "fits"), [(0, False), (1, True), (255, True), (256, False)])
def test_a_password_has_1_to_255_bytes(size, fits, tmp_path):
    (tmp_path / "password").write_text("x" * size)
    words = ["-user=me", f"-password-file={tmp_path}/password"]
    if fits:
        assert read(*words).login == (b"me", b"x" * size)
    else:
        assert told(*words) == f"+socks: the password has {size} bytes; 1 to 255 can be sent"


def test_a_user_has_at_most_255_bytes(password):
    _, word = password
    assert read("-user=" + "é" * 127, word).login[0] == "é".encode() * 127
    assert told("-user=" + "é" * 128, word) == "+socks: -user has room for 255 bytes, not 256"
    assert "not 256" in told("-version=4", "-user=" + "x" * 256)


def test_user_and_password_go_together(password):
    assert told("-user=me") == "+socks: SOCKS 5 takes -user with -password-file only"
    assert told(password[1]) == "+socks: -password-file is of no use without -user"
    assert told("-version=4", *password) == "+socks: SOCKS 4 has no password, only -user"
    assert told("-version=4a", *password) == "+socks: SOCKS 4a has no password, only -user"
    assert "is not one of 5, 4, 4a" in told("-version=6")
