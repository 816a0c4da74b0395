"""Run in the interpreter that has the suites: its regrtest, which tells of each test as it goes.

    python inside.py FILE SECONDS [WORD OF REGRTEST ...]

A line of JSON goes into FILE when a test starts, and one with its outcome when it ends; so what was
under way when the process died or was killed is known.  A test that takes longer than SECONDS ends
the process, and says where all threads are.
"""

import faulthandler
import importlib
import json
import os
import sys


def results():
    """The module of regrtest that makes what a test's outcome is told to; it has moved."""
    for name in ("test.libregrtest.testresult", "test.support.testresult"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise SystemExit("this regrtest is not known")


def telling(base, tell, limit):
    """The class of regrtest's results, which tells."""

    class Telling(base):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.running = None

        def startTest(self, test):
            super().startTest(test)
            self.running, self.outcome, self.why = test.id(), None, ""
            tell(test=test.id())
            faulthandler.dump_traceback_later(limit, exit=True)

        def stopTest(self, test):
            faulthandler.cancel_dump_traceback_later()
            super().stopTest(test)
            tell(test=test.id(), outcome=self.outcome or "ok", why=self.why)
            self.running = None

        def became(self, test, outcome, why=""):
            if self.running is None:  # of a class or a module, outside of any test
                tell(test=test.id(), outcome=outcome, why=why)
            elif self.outcome is None:  # the first that went wrong counts
                self.outcome, self.why = outcome, why

        def wrong(self, test, error, outcome):
            kind, value, _ = error
            self.became(test, outcome, f"{kind.__name__}: {value}")

        def addError(self, test, err):
            super().addError(test, err)
            self.wrong(test, err, "ERROR")

        def addFailure(self, test, err):
            super().addFailure(test, err)
            self.wrong(test, err, "FAIL")

        def addSubTest(self, test, subtest, err):
            super().addSubTest(test, subtest, err)
            if err is not None:
                failed = issubclass(err[0], test.failureException)
                self.wrong(test, err, "FAIL" if failed else "ERROR")

        def addSkip(self, test, reason):
            super().addSkip(test, reason)
            self.became(test, "skipped", reason)

        def addExpectedFailure(self, test, err):
            super().addExpectedFailure(test, err)
            self.became(test, "expected failure")

        def addUnexpectedSuccess(self, test):
            super().addUnexpectedSuccess(test)
            self.became(test, "unexpected success")

    return Telling


def main():
    """Let regrtest run, with its own words."""
    file, limit, *words = sys.argv[1:]
    del sys.path[0]  # this directory is nothing to the suites

    def tell(**what):
        line = (json.dumps(what) + "\n").encode()
        fd = os.open(file, os.O_WRONLY | os.O_APPEND)  # no descriptor is left open meanwhile
        os.write(fd, line)
        os.close(fd)

    module = results()
    module.RegressionTestResult = telling(module.RegressionTestResult, tell, float(limit))
    sys.argv[1:] = words
    regrtest = importlib.import_module("test.libregrtest.main").main

    regrtest()


if __name__ == "__main__":
    main()
