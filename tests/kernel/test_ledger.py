"""What a ledger says of calls that wait."""

import os

import pytest

from tesla_trace.kernel.ledger import CROWD, PLACE, PLACES, Ledger, owed


class Call:
    """As much of a stop as is looked at."""

    def __init__(self, number):
        self.told = bytes([number % 255 + 1]) * PLACE
        self.place = 0
        self.gone = False

    def waiting(self):
        return not self.gone


@pytest.fixture
def ledger():
    made = Ledger()
    yield made
    made.close()


def receive(ledger, number):
    call = Call(number)
    ledger.last[:] = call.told
    return call


def receive_and_keep(ledger, number):
    call = receive(ledger, number)
    ledger.keep(call)
    return call


def test_nothing_is_owed_at_first(ledger):
    assert owed(ledger.file) == []


def test_the_last_call_is_there_without_more(ledger):
    call = receive(ledger, 1)
    assert owed(ledger.file) == [call.told]


def test_calls_that_wait_are_there_until_they_are_answered(ledger):
    calls = [receive_and_keep(ledger, number) for number in range(5)]
    last = receive(ledger, 99)
    assert owed(ledger.file) == [last.told, *(each.told for each in calls)]
    for each in (calls[1], calls[3]):
        ledger.drop(each)
    assert owed(ledger.file) == [last.told, calls[0].told, calls[2].told, calls[4].told]
    again = receive_and_keep(ledger, 7)
    receive(ledger, 99)
    assert again.told in owed(ledger.file)[1:]


def test_a_place_on_two_pages_is_read_whole(ledger):
    calls = [receive_and_keep(ledger, number) for number in range(200)]
    receive(ledger, 254)
    assert owed(ledger.file)[1:] == [each.told for each in calls]


def test_those_that_are_far_apart_are_found(ledger):
    calls = [receive_and_keep(ledger, number) for number in range(5000)]
    for each in calls[1:-1]:
        ledger.drop(each)
    receive(ledger, 254)
    assert owed(ledger.file)[1:] == [calls[0].told, calls[-1].told]


def test_calls_that_are_gone_make_room(ledger):
    for number in range(20 * CROWD):
        receive_and_keep(ledger, number).gone = True
    assert len(owed(ledger.file)) <= 2 * CROWD


def test_more_than_there_are_places_for_does_no_harm(ledger):
    calls = [receive_and_keep(ledger, number) for number in range(PLACES + 10)]
    assert os.fstat(ledger.file).st_size == PLACE * PLACES
    for each in calls:
        ledger.drop(each)
    assert owed(ledger.file) == [calls[-1].told]
