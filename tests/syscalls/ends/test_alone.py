"""The program's end without another: its face, its close, and how it comes to have one."""

import gc
import os
import resource
import select
import socket

import pytest

from tesla_trace.io.loop import Loop
from tesla_trace.syscalls.ends.alone import Alone, Ends
from tesla_trace.syscalls.ends.closes import Closes
from tesla_trace.syscalls.ends.meeting import Meeting, knock, open_privately

IN, OUT, HUP = select.POLLIN, select.POLLOUT, select.POLLHUP
EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET


def _raised(wrong):
    raise wrong


def state(end):
    poll = select.poll()
    poll.register(end, IN | OUT)
    return dict(poll.poll(0)).get(end.fileno(), 0)


@pytest.fixture(autouse=True)
def no_descriptor_is_left():
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
def loop():
    made = Loop(_raised)
    yield made
    made.epoll.close()
    made.exceptions.close()


@pytest.fixture
def closes(loop):
    made = Closes(loop)
    yield made
    made.close()


@pytest.fixture
def meeting():
    made = Meeting()
    yield made
    made.close()


@pytest.fixture
def alone(loop, closes, meeting):
    made = Alone(loop, closes, meeting)
    yield made
    made.given()
    made.close()


@pytest.fixture
def app(alone):
    """The program's end, as the program has it."""
    with alone.app.dup() as end:
        alone.given()
        end.setblocking(False)
        yield end


# ---- seeing closes ----


def test_the_last_close_is_told_once(closes):
    told = []
    one = socket.socket(socket.AF_UNIX)
    copy = one.dup()
    closes.expect(one.fileno(), lambda: told.append("closed"))
    one.close()
    closes.look()
    assert told == []
    copy.close()
    closes.look()
    closes.look()
    assert told == ["closed"]


def test_what_was_forgotten_is_not_told(closes):
    told = []
    with socket.socket(socket.AF_UNIX) as one:
        closes.forget(closes.expect(one.fileno(), lambda: told.append("closed")))
    closes.look()
    assert told == []


def test_one_that_tells_may_forget_others(closes):
    """Also those of which the same look was to tell."""
    told = []
    ends = [socket.socket(socket.AF_UNIX) for _ in range(2)]

    def tell():
        told.append("closed")
        for number in numbers:
            closes.forget(number)

    numbers = [closes.expect(each.fileno(), tell) for each in ends]
    for each in ends:
        each.close()
    closes.look()
    assert told == ["closed"]


def test_the_loop_tells_before_all_else(loop, closes):
    told = []
    read, write = os.pipe()
    loop.on_readable(read, lambda: told.append(os.read(read, 1)))
    with socket.socket(socket.AF_UNIX) as one:
        closes.expect(one.fileno(), lambda: told.append("closed"))
        os.write(write, b"x")
    loop.turn(0)
    assert told == ["closed", b"x"]
    for each in read, write:
        os.close(each)


def test_exceptions_are_asked_for_at_any_time(loop, closes):
    told = []
    with socket.socket(socket.AF_UNIX) as one:
        closes.expect(one.fileno(), lambda: told.append("closed"))
    loop.serve_exceptions()
    assert told == ["closed"]


# ---- the face ----


def test_it_has_no_connection(app):
    assert state(app) == OUT | HUP
    with pytest.raises(OSError):
        app.recv(1)
    with pytest.raises(OSError):
        app.send(b"x")


def test_its_close_is_seen(loop, alone, app):
    told = []
    alone.watch.hung_up = lambda: told.append("left")
    app.close()
    loop.turn(0)
    assert told == ["left"]


def test_joined_it_is_a_pair(loop, alone, app):
    told = []
    alone.watch.hung_up = lambda: told.append("left")
    alone.join(app)
    alone.join(app)
    assert state(app) == OUT
    alone.master.send(b"down")
    app.send(b"up")
    assert app.recv(9) == b"down" and alone.master.recv(9) == b"up"
    app.close()
    loop.turn(0)
    assert told == ["left"]


def test_it_stays_the_same_file(alone, app):
    before = os.fstat(app.fileno()).st_ino
    with select.epoll() as edge:
        edge.register(app, EDGES)
        edge.poll(0)
        alone.join(app)
        alone.fill(app)
        assert edge.poll(0) == []
        alone.empty()
        assert edge.poll(0) == [(app.fileno(), select.EPOLLOUT)]
    assert b"socket:[%d]" % before == alone.file


# ---- a listener ----


def test_listening_it_is_not_writable(alone, app):
    alone.listen(app)
    assert state(app) == 0
    with pytest.raises(OSError):
        app.recv(1)
    with pytest.raises(OSError):
        app.send(b"x")


def test_an_event_for_each_token(alone, app):
    alone.listen(app)
    with select.epoll() as edge:
        edge.register(app, EDGES)
        for _ in range(3):
            alone.put_token()
            assert edge.poll(0) == [(app.fileno(), select.EPOLLIN)]
            assert edge.poll(0) == []
        for _ in range(3):
            assert state(app) == IN
            alone.take_token(app)
        assert state(app) == 0


def test_there_is_no_token_to_wait_for(alone, app):
    alone.listen(app)
    app.setblocking(True)
    with pytest.raises(BlockingIOError):
        alone.take_token(app)


# ---- where they meet ----


def test_nothing_is_left_of_the_place(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        os.close(open_privately(listener, [str(tmp_path / "none"), str(tmp_path)]))
    assert list(tmp_path.iterdir()) == []


def test_where_there_is_no_place(tmp_path, loop):
    said = []
    pair = Ends(loop, said.append, [str(tmp_path / "none")]).new()
    assert pair.joined and state(pair.app) == OUT
    assert said == ["sockets look connected before connect(2): No such file or directory"]
    pair.given()
    pair.close()


def test_a_stranger_is_not_taken_for_the_program(meeting):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with socket.socket(socket.AF_UNIX) as stranger:
            knock(stranger, meeting._door)
            os.write(write, b"x")
            os._exit(0)
    os.read(read, 1)
    with socket.socket(socket.AF_UNIX) as app, meeting.join(app) as end:
        end.send(b"x")
        assert app.recv(1) == b"x"
    os.waitpid(child, 0)
    for each in read, write:
        os.close(each)


def test_without_descriptors_nobody_is_half_joined(meeting):
    with socket.socket(socket.AF_UNIX) as app:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (app.fileno(), hard))
        try:
            with pytest.raises(OSError):
                meeting.join(app)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert state(app) == OUT | HUP
        with meeting.join(app) as end:
            end.send(b"x")
            assert app.recv(1) == b"x"
