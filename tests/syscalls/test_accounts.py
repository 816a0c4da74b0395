from tesla_trace.flow import Flow
from tesla_trace.syscalls.accounts import Accounts, Totals


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
            "datapath": "handlers",
            "out": 10,
            "in": 2000,
            "outcome": "closed",
        }
    ]
    assert books.totals() == Totals(1, 10, 2000)


def test_one_that_failed_says_why():
    books, kept, _ = accounts()
    flow = Flow(number=1, target=("192.0.2.1", 9), failed="ECONNREFUSED")
    books.began(flow)
    books.over(flow)
    assert kept[0]["outcome"] == "ECONNREFUSED"


def test_a_socket_that_never_connected_is_none():
    books, kept, _ = accounts()
    books.over(Flow(number=1))
    assert kept == [] and books.totals() == Totals()


def test_what_is_under_way_at_the_end_is_open():
    books, kept, clock = accounts()
    flows = [Flow(number=number, target=("192.0.2.1", number), out=7) for number in (1, 2)]
    for flow in flows:
        books.began(flow)
    clock.time = 90.0  # somebody has set the clock
    open = [(each["outcome"], each["seconds"]) for each in books.under_way()]
    assert open == [("open", 0.0)] * 2 and kept == [] and books.totals() == Totals(2, 14, 0)
    books.over(flows[0])
    assert len(kept) == len(books.under_way()) == 1 and books.totals() == Totals(2, 14, 0)
