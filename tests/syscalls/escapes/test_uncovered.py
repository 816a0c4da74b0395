from tesla_trace.syscalls.escapes.uncovered import NAMES, OTHERS, TOLD, Uncovered
from tesla_trace.syscalls.escapes.ways import WAYS

UDP, MPTCP = WAYS["udp"], WAYS["mptcp"]


def counted(*events):
    uncovered = Uncovered()
    for way, program, refused in events:
        uncovered.add(way, program, refused=refused)
    return uncovered


def test_nothing():
    assert not Uncovered().changed and Uncovered().counts() == []


def test_one_line_names_ways_and_programs():
    twice = (UDP, "ntpd", False)
    uncovered = counted(twice, (MPTCP, "curl", True), twice)
    assert uncovered.line() == "2 UDP sockets (ntpd), 1 MPTCP socket refused (curl)"


def test_refused_and_let_through_are_told_apart():
    uncovered = counted((UDP, "a", False), (UDP, "a", True))
    assert uncovered.line() == "1 UDP socket (a), 1 UDP socket refused (a)"
    assert [each.refused for each in uncovered.counts()] == [False, True]


def test_those_that_did_it_most_are_named():
    names = [f"program{at}" for at in range(TOLD + 2)]
    uncovered = counted(*((UDP, name, False) for name in [*names, names[-1]]))
    *_, last, more = uncovered.line().replace(" and", ",").split(", ")
    assert uncovered.line().startswith(f"{TOLD + 3} UDP sockets ({names[-1]}, {names[0]}, ")
    assert last == names[TOLD - 2] and more == "2 more)"


def test_it_is_said_once_unless_there_is_more():
    uncovered = counted((UDP, "a", False))
    assert uncovered.changed
    uncovered.line()
    assert not uncovered.changed
    uncovered.add(UDP, "a", refused=False)
    assert uncovered.changed


def test_names_do_not_fill_the_memory():
    uncovered = counted(*((UDP, str(at), False) for at in range(NAMES + 10)))
    counts = uncovered.counts()
    assert len(counts) == NAMES + 1 and counts[-1].times == 10
    assert counts[-1][1:] == (False, OTHERS, 10)
