from tesla_trace.handlers.latency import Latency
from tesla_trace.testing.playbook import app, net, wait


def test_latency(play):
    far = play(Latency, "-delay=100ms") >> app.write(b"a") >> wait(0.05) >> app.write(b"b") << None
    far >> wait(0.06) << net.write(b"a") >> wait(0.05) << net.write(b"b")
    far >> net.avail(b"c") >> net.ended() >> wait(0.2) << app.avail(b"c") << app.ended()


def test_latency_passes_an_early_end_at_once(play):
    play(Latency, "-delay=100ms") >> app.shutdown(False, True) << net.shutdown(False, True)


def test_close_forgets_what_was_coming_in(play):
    far = play(Latency, "-delay=100ms")
    far >> net.avail(b"c") >> app.close() << net.close() >> wait(1) << None
