import pytest

from tesla_trace.flow import SECRET, UsageError, parse
from tesla_trace.handlers.socks import Socks


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("open sesame\n", "open sesame"),
        ("open sesame", "open sesame"),
        ("open sesame\r\n", "open sesame"),
        ("first\nsecond\n", "first"),
        (" spaces are its own \n", " spaces are its own "),
        ("sésame\x0b\x1c\u2028\n", "sésame\x0b\x1c\u2028"),
        ("", ""),
        ("\nsecond", ""),
    ],
)
def test_a_secret_is_the_first_line_of_a_file(tmp_path, text, secret):
    path = tmp_path / "secret"
    path.write_bytes(text.encode())
    assert SECRET.read(str(path)) == secret


def test_a_secret_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OUR_PASSWORD", "open sesame")
    assert SECRET.read("env:OUR_PASSWORD") == "open sesame"


def test_a_file_may_be_called_env(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env").write_text("open sesame")
    (tmp_path / "env:X").write_text("open sesame")
    assert SECRET.read("env") == SECRET.read("./env:X") == "open sesame"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("{}/none", "No such file or directory"),
        ("{}", "Is a directory"),
        ("{}/binary", "it is not text"),
        ("env:NO_SUCH_NAME", "the environment has no NO_SUCH_NAME"),
        ("env:", "the environment has no "),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_without_the_secret(tmp_path, given, why):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    given = given.format(tmp_path)
    with pytest.raises(UsageError) as error:
        parse(["+socks", "-user=me", f"-password-file={given}"], {"socks": Socks})
    assert str(error.value) == (
        f"+socks -password-file={given}: {given!r} is not {SECRET.accepts} ({why})"
    )
