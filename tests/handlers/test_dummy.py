from tesla_trace.flow import FlowHandler
from tesla_trace.handlers.dummy import Dummy
from tests.playbook import app, net


def test_it_changes_nothing(play):
    dummy = play(Dummy) >> app.write(b"out") << net.write(b"out")
    dummy >> net.avail(b"in") << app.avail(b"in") >> app.close() << net.close()
    assert Dummy.types == FlowHandler.types and not Dummy.exclusive
