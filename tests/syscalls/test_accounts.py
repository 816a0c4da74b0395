from tesla_trace.flow import Flow
from tesla_trace.syscalls.accounts import Accounts


class Clock:
    time = 100.0

    def __call__(self):
        return self.time


def accounts():
    kept, clock = [], Clock()
    return Accounts(kept.append, clock), kept, clock


def test_a_flow_from_start_to_end():
    books, kept, clock = accounts()
    flow = Flow(number=3, pid=7, program="cu\nrl", target=("::1", 80))
    books.began(flow)
    flow.out, flow.into = 10, 2000
    clock.time = 101.5
    assert kept == []
    books.over(flow)
    assert kept == [
        {
            "number": 3,
            "program": "cu?rl",
            "pid": 7,
            "accepted": False,
            "target": "[::1]:80",
            "began": 100.0,
            "seconds": 1.5,
            "out": 10,
            "in": 2000,
            "outcome": "closed",
        }
    ]
    assert (books.totals.flows, books.totals.out, books.totals.into) == (1, 10, 2000)


def test_one_that_failed_says_why():
    books, kept, _ = accounts()
    flow = Flow(number=1, target=("192.0.2.1", 9), failed="ECONNREFUSED")
    books.began(flow)
    books.over(flow)
    assert kept[0]["outcome"] == "ECONNREFUSED"


def test_a_socket_that_never_connected_is_none():
    books, kept, _ = accounts()
    books.over(Flow(number=1))
    assert kept == [] and books.totals.flows == 0


def test_what_is_under_way_at_the_end_is_open():
    books, kept, clock = accounts()
    for number in (1, 2):
        books.began(Flow(number=number, target=("192.0.2.1", number)))
    clock.time = 90.0  # somebody has set the clock
    books.close()
    assert [(each["outcome"], each["seconds"]) for each in kept] == [("open", 0.0)] * 2
    books.close()
    assert len(kept) == 2
