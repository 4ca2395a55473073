"""Whether some order of events explains what was told about a tier's stock."""

from itertools import permutations
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.stock_order import Operation, find_order


def take(number, began, ended=inf, **more):
    return Operation(f"take {number}", began, ended, -number, **more)


def give_back(number, began, ended=inf, **more):
    return Operation(f"give back {number}", began, ended, number, **more)


def refused(number, began, ended, left=None):
    return Operation(f"refuse {number}", began, ended, wanted=number, left=left)


def is_explained(stock, *operations):
    order = find_order(stock, operations)
    assert order.decided
    return order.stuck is None


def test_one_after_the_other_in_the_only_order():
    assert is_explained(
        2, take(2, 0, 1), refused(1, 2, 3, left=0), give_back(1, 4, 5), take(1, 6, 7)
    )


def test_the_last_ticket_cannot_be_taken_twice():
    order = find_order(1, [take(1, 0, 2), take(1, 1, 3)])
    assert order.stuck is not None
    assert order.stocks == [0]


def test_of_two_at_once_the_give_back_may_have_come_first():
    assert is_explained(0, take(1, 0, 2), give_back(1, 1, 3))
    assert not is_explained(0, take(1, 0, 2), give_back(1, 2.5, 3))


def test_an_unknown_outcome_may_come_late_or_never():
    unknown = take(1, 0)
    assert is_explained(1, unknown, refused(1, 8, 9))
    assert is_explained(1, unknown, take(1, 8, 9))
    assert not is_explained(1, unknown, take(1, 5, 6), take(1, 8, 9))


def test_nothing_happens_before_it_began():
    assert not is_explained(1, refused(1, 0, 1), take(1, 2))


def test_a_hold_gives_back_only_what_it_has_taken():
    hold, back = take(1, 0, 1), give_back(1, 0, after=0)
    assert is_explained(1, hold, back, take(1, 2, 3))
    assert not is_explained(0, take(1, 0, 9), give_back(1, 0, 9, after=0))


def test_the_number_that_was_said_to_be_left_must_have_been_left():
    assert is_explained(5, take(2, 0, 1), refused(4, 2, 3, left=3))
    assert not is_explained(5, take(2, 0, 1), refused(4, 2, 3, left=2))


def test_two_refusals_at_once_may_have_seen_different_stocks():
    at_once = [take(1, 0, 9), take(1, 0, 9), refused(3, 0, 9, left=2), refused(3, 0, 9, left=1)]
    assert is_explained(2, *at_once)
    assert not is_explained(2, *at_once, refused(4, 0, 9, left=3))


def test_what_names_the_operation_that_has_no_place_and_those_at_work():
    order = find_order(1, [take(1, 0, 1), take(1, 2, 5), take(2, 3)])
    assert (order.stuck.name, [other.name for other in order.at_work]) == ("take 1", ["take 2"])


def test_a_search_that_is_too_long_decides_nothing():
    operations = [take(number, 0, 100 + number) for number in range(1, 14)]
    order = find_order(1000, [*operations, refused(9999, 0, 99, left=3)], most_states=500)
    assert not order.decided
    assert order.stuck is None


def test_hundreds_of_operations_are_decided():
    operations = []
    for number in range(200):
        operations.append(take(1 + number % 3, number, number + 2))
        operations.append(give_back(1 + number % 3, number + 3, number + 5, after=2 * number))
    assert is_explained(40, *operations)


NUMBERS = st.integers(0, 8)
OPERATIONS = st.lists(
    st.builds(
        lambda began, length, change, left: Operation(
            "", began, inf if length > 6 else began + length, change, 0 if change else 3, left
        ),
        NUMBERS,
        NUMBERS,
        st.sampled_from([-2, -1, -1, 0, 1, 2]),
        st.sampled_from([None, None, 0, 1, 2]),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(stock=st.integers(0, 3), operations=OPERATIONS)
def test_it_finds_what_trying_every_order_finds(stock, operations):
    assert is_explained(stock, *operations) == _tried(stock, operations)


def _tried(stock, operations):
    ended = [each for each in operations if each.ended < inf]
    unknown = [each for each in operations if each.ended == inf]
    for some in range(2 ** len(unknown)):
        chosen = [each for at, each in enumerate(unknown) if some >> at & 1]
        if any(_fits(stock, order) for order in permutations(ended + chosen)):
            return True
    return False


def _fits(stock, order):
    latest_begin = -inf
    for operation in order:
        latest_begin = max(latest_begin, operation.began)
        if latest_begin > operation.ended:
            return False
        if operation.wanted and not operation.refuses_rightly(stock):
            return False
        stock += operation.change
        if stock < 0:
            return False
    return True
