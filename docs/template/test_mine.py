"""The contract, and what is special about it."""

from mine import GREET, Mine

from tesla_trace.testing import DatagramContract, Playbook, StreamContract, app, net


class TestStreams(StreamContract):
    words = ["+mine", "-loud"]


class TestDatagrams(DatagramContract):
    words = ["+mine", "-loud"]


def test_it_says_how_much_passes():
    play = Playbook(Mine, "-loud") >> app.write(b"hello") << net.write(b"hello")
    assert play.lines == ["1 curl[4711]: 5 bytes out"]
    assert (play >> app.ioctl(GREET, b"you")).result == b"hello you"
    play.done()
