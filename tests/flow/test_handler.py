from errno import ECONNRESET

import pytest

from tesla_trace.flow import Context, Flow, FlowHandler, failure, reason
from tesla_trace.testing.network import CLIENT, SERVER, Network
from tesla_trace.testing.playbook import HandClock, app, net, turn, wait

CALLS = [
    app.connect(("192.0.2.1", 80)),
    app.bind(("192.0.2.1", 80)),
    app.listen(5),
    app.write(b"data"),
    app.write(b"data", ("192.0.2.1", 53)),
    app.shutdown(True, False),
    app.getsockname(),
    app.getpeername(),
    app.may_avail(False),
    app.may_avail(True),
    app.getsockopt(1, 2, 3),
    app.setsockopt(1, 2, b"value"),
    app.ioctl(1, b"argument"),
    app.close(),
    app.abort(),
]
EVENTS = [
    net.connected(),
    net.connected(OSError(111, "")),
    net.accept_ready(),
    net.avail(b"data"),
    net.avail(b"data", ("192.0.2.1", 53)),
    net.may_write(False),
    net.ended(),
    net.ended(OSError(104, "")),
]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_goes_down_and_its_answer_comes_back(play, call):
    handler = play(FlowHandler)
    handler.below.answers[call.what] = "answer"
    handler >> call << getattr(net, call.what)(*call.args)
    assert handler.result == (None if call.what in VOID else "answer")


VOID = {"connect", "bind", "listen", "shutdown", "may_avail", "setsockopt", "close", "abort"}


@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_an_event_goes_up_and_its_answer_comes_back(play, event):
    handler = play(FlowHandler)
    handler.above.answers["avail"] = False
    shown = [arg.errno if isinstance(arg, OSError) else arg for arg in event.args]
    handler >> event << getattr(app, event.what)(*shown)
    assert handler.result == (False if event.what == "avail" else None)


class Slow(FlowHandler):
    """Asks for a stop whenever it is written to."""

    def write(self, data, to=None):
        self.later(lambda: self.upstream.may_write(self, False))
        return super().write(data, to)


def test_later_is_on_the_next_turn(play):
    play(Slow) >> app.write(b"x") << net.write(b"x") >> turn << app.may_write(False) >> wait(9)


def test_later_is_not_after_close(play):
    slow = play(Slow) >> app.write(b"x") << net.write(b"x")
    slow.handler.later(lambda: slow.below.write(b"late"))
    slow.handler.close()
    slow << net.close() >> turn << None


def test_an_event_from_inside_a_call_does_not_pass_unseen(play):
    class Hasty(FlowHandler):
        def write(self, data, to=None):
            self.upstream.may_write(self, False)
            return True

    hasty = play(Hasty)
    with pytest.raises(AssertionError, match=r"inside app.write\(b'x'\): app.may_write\(False\)"):
        hasty >> app.write(b"x")
    hasty << app.may_write(False)


def test_timers_stop_at_close(play):
    class Chime(FlowHandler):
        def __init__(self, ctx):
            super().__init__(ctx)
            self.chimes = self.timer(lambda: self.below.listen(1))
            self.chimes.arm(1)

    chime = play(Chime) >> wait(0.9) << None >> wait(0.2) << net.listen(1) >> wait(9) << None
    chime.handler.chimes.arm(1)
    chime.handler.chimes.arm(2)
    chime >> wait(1.5) << None >> wait(1) << net.listen(1)
    chime.handler.chimes.arm(1)
    chime >> app.close() << net.close() >> wait(9) << None
    chime.handler.chimes.arm(1)
    chime >> wait(9) << None


def test_a_closed_flow_tells_nobody_anything(play):
    handler = play(FlowHandler) >> app.close() << net.close()
    for event in EVENTS:
        handler >> event << None
        assert not handler.result


def test_an_aborted_flow_tells_nobody_anything(play):
    handler = play(FlowHandler)
    chime = handler.handler.timer(lambda: handler.handler.below.listen(1))
    chime.arm(1)
    handler >> app.abort() << net.abort() >> wait(9) << None >> app.close() << None
    for event in EVENTS:
        handler >> event << None
        assert not handler.result


def test_a_closed_flow_may_be_aborted_for_what_it_still_has_to_send(play):
    play(FlowHandler) >> app.close() << net.close() >> app.abort() << net.abort()


def test_abort_resets_what_close_would_have_sent():
    network = Network()
    client, server = network.pair()
    client.write(b"hello")
    client.abort()
    network.run()
    assert server.got == b"" and server.log == [ECONNRESET]


def test_an_accepted_flow_has_a_flow_and_a_clock_of_its_own():
    network = Network()
    server = network.application(["+dummy"])
    server.listen(1)
    client = network.application()
    client.connect(SERVER)
    network.run(0)
    clock = HandClock()
    wire = network.wires[-1]
    wire.ctx = wire.ctx.replace(clock=clock)
    accepted, _ = server.accept()
    for handler in (accepted, accepted.below):
        assert handler.ctx.clock is clock and handler.ctx.flow is wire.ctx.flow
        assert handler.ctx.flow.accepted and handler.ctx.flow.target == CLIENT
    assert server.ctx.flow is server.below.ctx.flow is not wire.ctx.flow
    assert client.ctx.flow.target == SERVER and not client.ctx.flow.accepted
    assert accepted.below.ctx.shared is server.below.ctx.shared


def test_lines_of_the_log_name_the_flow_and_cannot_be_broken_by_a_name():
    assert str(Flow(3, 4711, "curl")) == "3 curl[4711]"
    assert str(Flow(3, 4711, "a\n\x1b[2Jb")) == "3 a??[2Jb[4711]"


def test_more_than_one_flow_below():
    network = Network()

    class Fan(FlowHandler):
        """Two flows below; the second is spare."""

        def __init__(self, ctx):
            super().__init__(ctx)
            self.spare = self.plumb(ctx.domain, ctx.type)

    fan = Fan(Context(2, 1, network.clock, None, network.wire))
    assert fan.downstream == fan.plumbed == network.wires and fan.spare is network.wires[1]
    fan.may_avail(False)
    assert not any(wire.may for wire in network.wires)
    with pytest.raises(ValueError):
        fan.write(b"whereto?")
    fan.close()
    assert all(wire.closed for wire in network.wires)


def test_failure_is_an_errno_and_a_reason():
    error = failure(111, "nobody there")
    assert isinstance(error, ConnectionRefusedError) and error.errno == 111
    assert str(error) == "[Errno 111] Connection refused: nobody there"
    assert reason(error) == "nobody there" and reason(OSError(111, "Connection refused")) == ""
