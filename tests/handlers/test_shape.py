from tesla_trace.handlers.shape import Shape
from tesla_trace.testing.playbook import app, net, turn, wait


def test_burst_then_rate(play):
    shape = play(Shape, "-out=1kB", "-burst=100")
    shape >> app.write(b"x" * 100) >> turn << net.write(b"x" * 100)
    shape >> app.write(b"y" * 500) << None
    shape >> wait(0.4) << None >> wait(0.2) << net.write(b"y" * 500)


def test_each_way_has_its_own_rate(play):
    shape = play(Shape, "-in=1kB", "-burst=0")
    shape >> app.write(b"x" * 5000) >> turn << net.write(b"x" * 5000)
    shape >> net.avail(b"y" * 500) << None
    shape >> wait(0.4) << None >> wait(0.2) << app.avail(b"y" * 500)


def test_a_long_pause_earns_one_burst(play):
    shape = play(Shape, "-out=1kB", "-burst=100") >> wait(1000)
    shape >> app.write(b"x" * 100) >> app.write(b"y" * 100) << net.write(b"x" * 100)
    shape >> wait(0.05) << None >> wait(0.1) << net.write(b"y" * 100)


def test_bits_are_eighths_of_bytes(play):
    shape = play(Shape, "-out=8kbit", "-burst=0") >> app.write(b"x" * 1000)
    shape >> wait(0.9) << None >> wait(0.2) << net.write(b"x" * 1000)
