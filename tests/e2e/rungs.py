"""The ways that the bytes of a program can take: the same must happen on each."""

import json

import pytest

HANDLERS = ["+dummy"]
SPLICED = ["--datapath=splice", "+fixtures.handlers:AsideOnceConnected"]
HANDED_BACK = ["+fixtures.handlers:AsideOnceConnected"]

RUNGS = {"handlers": HANDLERS, "spliced": SPLICED, "handed back": HANDED_BACK}
"""The words of tesla_trace that lead there, by what `--report` calls it."""

each_rung = pytest.mark.parametrize("rung", RUNGS)


def ways(report):
    """The ways that the flows in the file of `--report` took."""
    return {flow["datapath"] for flow in json.loads(report.read_text())["flows"]}
