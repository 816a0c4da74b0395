from errno import ECONNRESET

from tesla_trace.flow.lane import OVERHEAD
from tesla_trace.handlers.latency import Latency
from tesla_trace.handlers.shape import Shape
from tesla_trace.testing.playbook import app, net, turn, wait


def test_a_full_shaper_stops_the_writer_on_the_next_turn(play):
    shape = play(Shape, "-out=500kB", "-burst=0")
    assert (shape >> app.write(b"x" * 9000)).result is True
    assert (shape << None >> app.write(b"x" * 1000)).result is True
    shape << None >> turn << app.may_write(False)
    assert (shape >> app.write(b"x" * 1000)).result is True, "and still takes what it writes"
    shape >> wait(0.012) << net.write(b"x" * 4 * 1448)
    shape >> wait(0.0056) << net.write(b"x" * 2 * 1448) << app.may_write(True)
    shape >> wait(1) << net.write(b"x" * (11_000 - 6 * 1448))


def test_it_does_not_stop_the_writer_over_what_was_gone_at_once(play):
    shape = play(Shape) >> app.write(b"x" * 100_000) << None
    shape >> turn << net.write(b"x" * 100_000)


def test_a_full_shaper_stops_the_flow_below(play):
    shape = play(Shape, "-in=500kB", "-burst=0")
    assert (shape >> net.avail(b"x" * 10_000)).result is True
    shape >> turn << net.may_avail(False)
    shape >> wait(0.012) << app.avail(b"x" * 4 * 1448) << net.may_avail(True)
    shape >> wait(1) << app.avail(b"x" * (10_000 - 4 * 1448))


def test_a_great_many_pieces_of_one_byte_are_bounded_too(play):
    far = play(Latency, "-delay=1s", "-rate=1kB")
    for _ in range(2**20 // (OVERHEAD + 1)):
        far >> app.write(b"x")
    far << None >> app.write(b"x") << None >> turn << app.may_write(False)
    far >> wait(2) << net.write(b"x" * (2**20 // (OVERHEAD + 1) + 1)) << app.may_write(True)


def test_of_a_listener_what_comes_in_is_stopped_below(play):
    shape = play(Shape, "-in=1MB") >> app.listen(1) << net.listen(1)
    shape >> app.may_avail(False) << net.may_avail(False)
    shape >> app.may_avail(True) << net.may_avail(True)


def test_a_stop_from_below_holds_data_whatever_the_time(play):
    shape = play(Shape) >> net.may_write(False) >> app.write(b"x") >> wait(100) << None
    shape >> net.may_write(True) >> turn << net.write(b"x")


def test_a_stop_from_above_holds_data_whatever_the_time(play):
    shape = play(Shape) >> app.may_avail(False) >> net.avail(b"x") >> wait(100) << None
    shape >> app.may_avail(True) >> turn << app.avail(b"x")


def test_the_end_waits_for_what_is_held(play):
    shape = play(Shape, "-out=1kB", "-burst=0")
    shape >> app.write(b"x" * 100) >> app.shutdown(False, True) << None
    shape >> wait(0.2) << net.write(b"x" * 100) << net.shutdown(False, True)


def test_close_waits_for_what_is_held(play):
    shape = play(Shape, "-out=1kB", "-burst=0")
    shape >> app.write(b"x" * 100) >> app.close() << None
    shape >> wait(0.2) << net.write(b"x" * 100) << net.close()


def test_a_lost_connection_is_not_written_to(play):
    shape = play(Shape, "-out=1kB", "-burst=0")
    shape.below.answers["write"] = False
    shape >> app.write(b"x" * 2000) >> wait(1.5) << net.write(b"x" * 1448)
    shape >> wait(1) << None
    assert (shape >> app.write(b"x")).result is False


def test_an_application_that_hears_nothing_more_is_not_spoken_to(play):
    shape = play(Shape, "-in=1kB", "-burst=0")
    shape.above.answers["avail"] = False
    shape >> net.avail(b"x" * 2000) >> wait(1.5) << app.avail(b"x" * 1448)
    shape >> wait(1) << None
    assert (shape >> net.avail(b"x")).result is False


def test_closing_does_not_wait_for_a_lost_connection(play):
    shape = play(Shape, "-out=1kB", "-burst=0") >> net.may_write(False)
    shape >> app.write(b"x" * 2000) >> app.close() << None
    shape >> net.ended(OSError(ECONNRESET, "")) >> turn << net.close()


def test_abort_forgets_what_is_held_and_what_close_left_to_send(play):
    for first in ([], [app.close()]):
        shape = play(Shape, "-out=1kB", "-burst=0") >> app.write(b"x" * 2000)
        for call in first:
            shape >> call << None
        shape >> app.abort() << net.abort() >> wait(9) << None >> app.close() << None


def test_closed_by_the_last_of_what_was_held_it_asks_for_no_more(play):
    shape = play(Shape, "-in=100kB", "-burst=0") >> net.avail(b"x" * 9_000)
    shape >> turn << net.may_avail(False)
    shape.above.avail = lambda source, data, origin=None: shape.handler.close() or True
    shape >> wait(9) << net.close()
