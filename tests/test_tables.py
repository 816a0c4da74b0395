import re
from pathlib import Path

import pytest

from tesla_trace import tables
from tesla_trace.cli import pages
from tesla_trace.flow import installed
from tesla_trace.syscalls.options.sockopt import OPTIONS

ROOT = Path(__file__).parent.parent

TABLE = {"sort": lambda: "| a |\n| --- |\n"}


PAGES = ["README.md", *(f"docs/{name}" for name in pages.PAGES if name != "README.md")]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_tables_as_they_are_now(page):
    text = (ROOT / page).read_text()
    current = tables.renewed(text, pages.PAGES[Path(page).name])
    assert text == current, f"python -m tesla_trace.cli.pages {page} makes it so"


@pytest.mark.parametrize("stale", ["", "| old |\n", "| old |\n| --- |\n\n"])
def test_a_stale_table_is_replaced_and_nothing_else(stale):
    text = "# T\n<!-- sort -->\n{}<!-- /sort -->\nthe rest\n"
    assert tables.renewed(text.format(stale), TABLE) == text.format("| a |\n| --- |\n")


def test_a_current_table_stays():
    text = "<!-- sort -->\n| a |\n| --- |\n<!-- /sort -->\n"
    assert tables.renewed(text, TABLE) == text


@pytest.mark.parametrize("text", ["", "<!-- sort -->\n", "<!-- /sort -->\n", "<!-- sorts -->\n"])
def test_a_table_without_a_place_is_an_error(text):
    with pytest.raises(ValueError, match="<!-- sort -->"):
        tables.renewed(text, TABLE)


def test_every_handler_of_ours_has_its_line():
    lines = tables.handlers_table().splitlines()[2:]
    there = {path.stem for path in Path("handlers").glob("[!_]*.py")}
    assert {re.match(r"\| `\+(\w+)` \|", line)[1] for line in lines} == there


def test_every_request_has_its_line():
    lines = tables.asked_table().splitlines()
    assert "| `latency` | request 1 | the delay in seconds, as text |" in lines
    there = {path.stem for path in Path("handlers").glob("[!_]*.py")}
    assert {line.split("`")[1] for line in lines[2:]} == there


def test_every_option_has_its_line():
    lines = tables.options_table().splitlines()
    assert len(lines) == 2 + len(OPTIONS) + 1
    for option in OPTIONS.values():
        assert f"| `{option.name}` | {option.whose.value} | {option.note} |" in lines


def test_every_line_has_as_many_columns_as_the_title():
    for table in (tables.handlers_table(), tables.options_table()):
        columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert set(columns) == {4}, table


def test_bars_do_not_end_a_cell():
    assert tables.markdown(["a"], [["5|4"]]) == "| a |\n| --- |\n| 5\\|4 |\n"


def test_plain_tables_are_aligned_and_wrapped():
    words = " ".join(["word"] * 40)
    title, first, *rest = "\n".join(tables.plain(("a", "b"), [("long", words)])).splitlines()
    assert title == "a     b"
    assert first.startswith("long  word")
    assert rest and all(line.startswith("      word") for line in rest)
    assert max(map(len, rest)) <= tables.PLAIN_WIDTH
    assert " ".join([first[6:], *(line.strip() for line in rest)]) == words


def test_handlers_are_printed_with_sentence_and_options(capsys):
    tables.handlers()
    printed = capsys.readouterr().out
    for name in installed():
        assert f"\n+{name} " in printed
    assert re.search(r"\+socks +Connect through a SOCKS proxy, [^.]*\. +-proxy=HOST:PORT", printed)
    assert "The program sees the peer" not in printed
