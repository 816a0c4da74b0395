from errno import EACCES, EISCONN, ENOTCONN, EPROTO, ETIMEDOUT

import pytest

from tesla_trace.flow import Transform
from tesla_trace.testing.playbook import app, net, turn, wait


class Shout(Transform):
    """Says hello, waits for one byte, and then shouts."""

    name = "shout"

    def negotiate(self):
        self.below.write(b"hello")
        yield 1

    def encode(self, data):
        return data.upper()

    def decode(self, data):
        for byte in data:
            if byte == ord("!"):
                raise ValueError("too loud")
            yield bytes([byte]).lower()

    def finish(self):
        return b"."


def test_the_talk_comes_before_connected(play):
    shout = play(Shout) >> app.connect("x") << net.connect("x")
    shout >> net.connected() << net.write(b"hello") >> turn << None
    shout >> net.avail(b"?") << app.connected() >> app.write(b"a") << net.write(b"A")


def test_what_comes_with_the_last_word_is_data(play):
    shout = play(Shout) >> app.connect("x") << net.connect("x")
    shout >> net.connected() << net.write(b"hello")
    shout >> net.avail(b"?ABC") << app.connected() << app.avail(b"abc")


def test_an_accepted_flow_is_not_written_to_before_it_is_open(play):
    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    assert (shout >> app.write(b"a")).result is True
    shout << None >> app.shutdown(False, True) << None >> net.avail(b"?")
    shout << net.write(b"A.") << net.shutdown(False, True) << app.may_write(True)


def test_what_the_flow_below_wants_in_the_talk_is_remembered(play):
    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    shout >> net.may_write(False) << None >> net.may_write(True) << None
    shout >> net.avail(b"?") << app.may_write(True)

    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    shout >> net.may_write(False) << None >> net.avail(b"?") << None
    shout >> net.may_write(True) << app.may_write(True)


def test_an_accepted_flow_whose_talk_fails_ends(play):
    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    shout >> app.write(b"a") << None >> wait(31) << app.ended(ETIMEDOUT)
    assert (shout >> app.write(b"a")).result is False
    assert (shout >> net.avail(b"?")).result is False
    shout >> app.close() << net.close()


def test_a_shutdown_that_comes_too_late_fails_nobody(play):
    def gone(read, write):
        raise OSError(ENOTCONN, "gone meanwhile")

    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    shout.below.shutdown = gone
    shout >> app.shutdown(False, True) << None
    shout >> net.avail(b"?") << net.write(b".") << app.may_write(True)


def test_a_talk_that_fails_takes_no_more(play):
    class Deny(Shout):
        def negotiate(self):
            yield 1
            raise OSError(EACCES, "no")

    deny = play(Deny, accepted=True) >> net.avail(b"?")
    assert deny.result is False
    deny << app.may_write(False) << app.ended(EACCES)


def test_close_sends_what_was_written_before_the_talk_was_over(play):
    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    shout >> app.write(b"a") >> app.close() << None
    shout >> net.avail(b"?ABC") << net.write(b"A.") << net.close()


def test_close_gives_up_on_a_talk_that_fails(play):
    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    shout >> app.write(b"a") >> app.close() << None >> wait(31) << net.close()


def test_garbage_after_good_data(play):
    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    shout >> net.avail(b"?AB!C") << app.may_write(True) << app.avail(b"ab") << app.ended(EPROTO)
    shout >> net.avail(b"D") << None >> net.ended() << None


def test_garbage_after_a_stop_and_a_go_in_one(play):
    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    handler = shout.handler
    shout.above.avail = lambda source, data: [handler.may_avail(may) for may in (False, True)]
    shout >> net.avail(b"?A!") << app.may_write(True) << app.ended(EPROTO) >> turn << None


def test_a_flow_is_connected_once(play):
    shout = play(Shout) >> app.connect("x") << net.connect("x")
    shout >> net.connected() << net.write(b"hello") >> wait(31) << app.connected(ETIMEDOUT)
    with pytest.raises(OSError) as error:
        shout >> app.connect("x")
    assert error.value.errno == EISCONN


def test_after_abort_there_is_no_last_word(play):
    shout = play(Shout) >> app.connect("x") << net.connect("x")
    shout >> net.connected() << net.write(b"hello") >> net.avail(b"?") << app.connected()
    shout >> app.abort() << net.abort() >> app.close() << None


def test_abort_gives_up_a_talk_with_something_to_send(play):
    shout = play(Shout, accepted=True) >> turn << net.write(b"hello") << app.may_write(False)
    shout >> app.write(b"a") >> app.close() << None >> app.abort() << net.abort()
    shout >> net.avail(b"?ABC") << None >> wait(31) << None
