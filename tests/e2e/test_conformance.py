"""A selection of CPython's own suites does the same under us; `make conformance` runs them all."""

import functools

import pytest

from conformance import compare, configurations, run, suites

NATIVE = ()


@pytest.fixture(autouse=True)
def interpreter():
    try:
        return suites.interpreter()
    except suites.Missing as wrong:
        pytest.skip(f"needs the suites: {wrong}")


@functools.cache
def natively(suite):
    """What becomes of its tests without us: asked once, for it takes as long as with us."""
    return run.outcomes(suite, NATIVE)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("words", configurations.CONFIGURATIONS.values())
@pytest.mark.parametrize("suite", suites.SHORT, ids=lambda suite: suite.module)
def test_same_as_natively(suite, words):
    def alone(test, ours):
        return run.again(suite, test, words if ours else NATIVE)

    native, ours = natively(suite), run.outcomes(suite, words)
    assert sum(each.what == "ok" for each in native.values()) > 5

    def whole():
        return run.outcomes(suite, words)

    compared = compare.compare(suite.module, native, ours, alone, whole)
    assert [each for each in compared.differences if not each.explained] == []


HANGS = """\
import os, signal, socket, unittest

class Tests(unittest.TestCase):
    def test_1_passes(self): pass
    def test_2_fails(self): self.assertEqual(1, 2)
    def test_3_is_skipped(self): self.skipTest("so")
    def test_4_crashes(self): os.kill(os.getpid(), signal.SIGSEGV)
    def test_5_errs(self):
        with self.subTest(1):
            raise OSError("so")
    def test_6_hangs(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.accept()
    def test_7_is_left_out_VSOCK(self): self.fail()
    def test_8_passes(self): pass

class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise ValueError("so")
    def test_never(self): pass
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("words", [NATIVE, ("+dummy",)], ids=["natively", "under us"])
def test_an_outcome_for_every_test_whatever_happens(words, tmp_path, monkeypatch):
    (tmp_path / "made_up_suite.py").write_text(HANGS)
    monkeypatch.setattr(run, "TEST", 2.0)
    only = ["-v", "--testdir", str(tmp_path), "-i", "*VSOCK*"]
    monkeypatch.setattr(suites.Suite, "words", lambda suite: [*only, suite.module])
    found = run.outcomes(suites.Suite("made_up_suite"), words)
    assert {name.rpartition("made_up_suite.")[2]: each.what for name, each in found.items()} == {
        "Broken)": "ERROR",
        "Tests.test_1_passes": "ok",
        "Tests.test_2_fails": "FAIL",
        "Tests.test_3_is_skipped": "skipped",
        "Tests.test_4_crashes": "crashes",
        "Tests.test_5_errs": "ERROR",
        "Tests.test_6_hangs": "hangs",
        "Tests.test_8_passes": "ok",
    }
