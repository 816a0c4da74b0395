"""What the pages in docs/ show works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.process import LIMIT

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", (DOCS / "handlers.md").read_text(), re.S)


@pytest.fixture
def folder(tmp_path):
    """The files that the page about handlers shows."""
    for name, text in BLOCKS:
        (tmp_path / name).write_text(text)
    return tmp_path


def pytest_in(folder, *words, limit=3 * LIMIT):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    command.append("--hypothesis-seed=0")  # the same every time
    env = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=limit
    )


def test_what_the_page_about_handlers_shows(folder):
    assert [name for name, _ in BLOCKS] == ["rot13.py", "idle.py", "test_idle.py"]
    (folder / "test_rot13.py").write_text(
        "from tesla_trace.testing import StreamContract\n"
        "class TestStreams(StreamContract):\n    words = ['+rot13:Rot13']\n"
    )
    done = pytest_in(folder)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 60


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_a_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link
