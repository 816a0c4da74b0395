"""The name server on a stream: framing, order, pace and ends."""

import pytest

from tesla_trace.flow import Context
from tesla_trace.flow.namestream import FULL, TURN, Frames, NameStream
from tesla_trace.testing.playbook import Fake, HandClock

HERE = ("192.0.2.53", 53)


def framed(*messages):
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_messages_come_in_any_pieces(size):
    sent = [b"one", b"", b"three" * 100, b"x"]
    stream = framed(*sent) + b"\x00\x05rest"
    frames, got = Frames(), []
    for start in range(0, len(stream), size):
        frames.put(stream[start : start + size])
        while (message := frames.take()) is not None:
            got.append(message)
    assert got == sent and len(frames) == 6
    frames.put(b"!")
    assert frames.take() == b"rest!" and frames.take() is None and len(frames) == 0


class Talk:
    """A name stream, what it says, and the turns it says it in."""

    def __init__(self, answer=bytes.upper):
        self.clock = HandClock()
        self.notes = []
        self.flow = NameStream(Context(2, 1, self.clock, None, None), answer)
        self.above = self.flow.upstream = Fake("app", self.notes, {"avail": True})
        self.flow.connect(HERE)
        assert self.notes == []
        self.turn()

    def turn(self):
        """What was said in one turn of the loop."""
        self.clock.turn()
        said = [(line.what, *line.args) for line in self.notes]
        self.notes.clear()
        return said


def test_an_answer_comes_on_a_later_turn():
    talk = Talk()
    assert talk.flow.write(framed(b"one", b"two")) and talk.notes == []
    assert talk.turn() == [("avail", framed(b"ONE")), ("avail", framed(b"TWO"))]
    talk.flow.close()
    assert talk.clock.pending() == 0


def test_what_is_no_question_ends_the_talk():
    talk = Talk(lambda query: None if query == b"?" else query)
    talk.flow.write(framed(b"one", b"?", b"two"))
    assert talk.turn() == [("avail", framed(b"one")), ("ended",)]
    assert not talk.flow.write(framed(b"three")) and talk.turn() == []


def test_many_questions_leave_turns_for_others():
    talk = Talk()
    talk.flow.write(framed(*[b"q"] * (TURN + 1)))
    assert len(talk.turn()) == TURN and len(talk.turn()) == 1 and talk.turn() == []


def test_all_is_answered_before_the_end():
    talk = Talk()
    talk.flow.write(framed(*[b"q"] * (TURN + 1)))
    talk.flow.shutdown(False, True)
    assert not talk.flow.write(b"more")
    assert len(talk.turn()) == TURN
    assert talk.turn() == [("avail", framed(b"Q")), ("ended",)]
    assert talk.turn() == []


def test_half_a_question_is_given_up_at_the_end():
    talk = Talk()
    talk.flow.write(b"\x00\x05ha")
    talk.flow.shutdown(False, True)
    assert talk.turn() == [("ended",)]


def test_who_does_not_read_is_not_answered_and_in_the_end_stopped():
    talk = Talk()
    talk.flow.may_avail(False)
    assert talk.turn() == []
    query = framed(b"q" * 1000)
    for _ in range(FULL // len(query)):
        talk.flow.write(query)
        assert talk.turn() == []
    talk.flow.write(query)
    assert talk.turn() == [("may_write", False)]
    talk.flow.may_avail(True)
    first = talk.turn()
    assert len(first) == TURN and first[0] == ("avail", framed(b"Q" * 1000))
    assert ("may_write", True) in talk.turn()


def test_who_hears_nothing_is_not_answered():
    talk = Talk()
    talk.above.answers["avail"] = False
    talk.flow.write(framed(b"one", b"two"))
    assert talk.turn() == [("avail", framed(b"ONE"))]
    other = Talk()
    other.flow.shutdown(True, False)
    other.flow.write(framed(b"one"))
    assert other.turn() == []


def test_closed_inside_an_answer_it_is_silent():
    talk = Talk()
    talk.above.avail = lambda *_: talk.flow.close() or True
    talk.flow.write(framed(*[b"q"] * 100))
    assert talk.turn() == [] and talk.clock.pending() == 0
