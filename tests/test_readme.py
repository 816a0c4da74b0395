"""What the README and the pages in docs/ show is what the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from tesla_trace.cli.options import OPTIONS, take_apart
from tesla_trace.cli.stacked import stacked
from tesla_trace.flow import installed
from tesla_trace.rulefile import read
from tests.certificates import private

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
RULES = (ROOT / "docs/rules.md").read_text()
PAGES = {path: path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
ALL = "".join(PAGES.values())
EXAMPLES = re.findall(r"^    (tesla_trace .*)$", ALL, flags=re.MULTILINE)
LINKS = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)]+)\)", PAGES[page])]
RULE_FILES = re.findall(r"^```toml\n(.*?)^```$", README + RULES, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_can_be_typed(line, tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("a word\n")
    (tmp_path / "rules.toml").write_text("")
    for name in ("both", "me", "ours", "server"):
        private(tmp_path / f"{name}.pem", key.read_bytes())
    words = take_apart(shlex.split(line, comments=True)[1:])
    if words.action == "keygen":
        assert words.value and not words.program
    elif words.action == "detach":
        assert int(words.value) == 4711
    else:
        assert (words.program or words.attach) and words.handlers and stacked(words).serves(1)


@pytest.mark.parametrize("text", RULE_FILES)
def test_a_rule_file_can_be_read(text, tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    (tmp_path / "common.toml").write_text("")
    words = ["+log", "+socks=proxy:1080", f"--rules={path}", "true"]
    assert stacked(take_apart(words)).serves(1)
    assert read(str(path), installed())


def test_there_are_examples():
    assert len(EXAMPLES) >= 5 and len(RULE_FILES) == 2


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)", README, flags=re.MULTILINE))
def test_a_command_of_the_set_up_is_there(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_somewhere(page, link):
    path, _, title = link.partition("#")
    there = page.parent / path if path else page
    assert there.exists()
    if title:
        titles = re.findall(r"^#+ (.*)$", there.read_text(), flags=re.MULTILINE)
        assert title in [re.sub(r"[^\w -]", "", each).replace(" ", "-").lower() for each in titles]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_can_be_found_from_the_readme(page):
    assert page.name == "README.md" or f"(docs/{page.name})" in README


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_named(option):
    assert re.search(rf"`(tesla_trace )?{option.name}\b", README)


def test_the_exit_statuses():
    from tesla_trace.cli import statuses
    from tesla_trace.supervision import front

    for status in (statuses.NOT_ATTACHED, statuses.USAGE, statuses.NO_TRAP, front.LOST):
        assert re.search(rf"^\| (\d+, )?{status} \|", README, flags=re.MULTILINE)


def test_every_module_named_is_there():
    for name in re.findall(r"`((?:tesla_trace|handlers)/[\w/]+\.py)`", ALL):
        assert (ROOT / name).exists()
