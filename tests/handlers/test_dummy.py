from tesla_trace.flow import FlowHandler
from tesla_trace.handlers.dummy import ECHO, TELL, Dummy
from tesla_trace.testing.playbook import app, net


def test_it_changes_nothing(play):
    dummy = play(Dummy) >> app.write(b"out") << net.write(b"out")
    dummy >> net.avail(b"in") << app.avail(b"in") >> app.close() << net.close()
    assert Dummy.types == FlowHandler.types and not Dummy.exclusive


def test_programs_that_know_of_it_may_ask_it(play):
    dummy = play(Dummy)
    told = []
    dummy.handler.ctx.flow.events.tell = lambda event: told.append((event.kind, event.data))
    dummy >> app.ioctl(ECHO, b"hello") >> app.ioctl(TELL, b"news")
    assert (dummy >> app.ioctl(ECHO, b"hello")).result == b"hello" and told == [(1, b"news")]
    dummy >> app.ioctl(0x8915, b"") << net.ioctl(0x8915, b"")
