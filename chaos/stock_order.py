"""Is there an order of events that explains what was told about one tier's stock?

Linearizability, decided as Wing, Gong and Lowe do: every operation happens at one moment between its begin
and its end, and the stock is never negative. An operation whose outcome is not known has no end: it happens
at any time after its begin, or never (an `info` operation in Jepsen's words).

The search goes through begins and ends in order of time, and keeps all states that can be. Changes commute,
so a state is the set of open operations that have happened. An operation that every state contains is
dropped, so at a quiet moment only one state is left. Three rules keep the number of states small, and lose no
order:

- Nothing happens before somebody needs it, that is, before the end of an operation.
- A refusal changes nothing, so it happens as soon as it is true.
- Of two open operations that change the stock by the same number, the one that ends first happens first,
  unless a third one waits for the other (`after`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

MOST_STATES = 300_000  # looked at in all; a few seconds


@dataclass(frozen=True)
class Operation:
    """A change of the stock; or a refusal, if `wanted` is not 0."""

    name: str
    began: float
    ended: float = inf
    change: int = 0  # tickets put into stock; negative: taken out
    wanted: int = 0  # so many were refused, because fewer were left
    left: int | None = None  # so many were said to be left
    after: int | None = None  # the position of the operation that must have happened before

    def refuses_rightly(self, stock: int) -> bool:
        return stock < self.wanted and self.left in {None, stock}


@dataclass
class Order:
    """The result. `stuck` is the operation that no order explains, if there is one."""

    stuck: Operation | None = None
    stocks: list[int] = field(default_factory=list)  # that could have been when it ended
    at_work: list[Operation] = field(default_factory=list)  # meanwhile
    decided: bool = True


@dataclass(frozen=True)
class State:
    happened: int  # a bit for each open operation
    stock: int


class TooMany(Exception):
    """There are more states than can be looked at."""


def find_order(
    stock: int, operations: Sequence[Operation], most_states: int = MOST_STATES
) -> Order:
    """Look for an order. `stock` is what was left before the first operation."""
    search = _Search(operations, most_states)
    states = {State(0, stock)}
    for position, ends in _events(operations):
        operation = operations[position]
        if not ends:
            search.begin(position)
            states = {search.refused(state) for state in states}
            continue
        before = states
        try:
            states = search.end(position, states)
        except TooMany:
            return Order(decided=False)
        if not states:
            stocks = sorted({state.stock for state in before})
            at_work = [operations[other] for other in search.open if other != position]
            return Order(operation, stocks, at_work)
        search.close(position)
    return Order()


def _events(operations: Sequence[Operation]) -> Iterator[tuple[int, bool]]:
    # Positions, and whether it ends there. At one moment all begins come first.
    begins = [(each.began, False, position) for position, each in enumerate(operations)]
    ends = [(each.ended, True, position) for position, each in enumerate(operations)]
    for time, is_end, position in sorted(begins + ends):
        if time < inf:
            yield position, is_end


class _Search:
    def __init__(self, operations: Sequence[Operation], most_states: int) -> None:
        self.operations, self.states_left = operations, most_states
        self.open: list[int] = []
        self.changes: list[int] = []  # those of them that change the stock, the first to end first
        self.refusals: list[int] = []
        self.closed: set[int] = set()  # they have happened in every state
        self.waited_for = {each.after for each in operations} - {None}

    def begin(self, position: int) -> None:
        self.open.append(position)
        if self.operations[position].wanted:
            self.refusals.append(position)
        else:
            self.changes.append(position)
            self.changes.sort(key=lambda each: (self.operations[each].ended, each))

    def end(self, position: int, states: set[State]) -> set[State]:
        """The states in which the operation has happened."""
        found, seen, waiting = set(), set(states), list(states)
        bit = 1 << position
        while waiting:
            if len(seen) > self.states_left:
                raise TooMany
            state = waiting.pop()
            if state.happened & bit:
                found.add(State(state.happened & ~bit, state.stock))
                continue
            for later in self.next_states(state):
                if later not in seen:
                    seen.add(later)
                    waiting.append(later)
        self.states_left -= len(seen)
        return self.without_weaker(found)

    def close(self, position: int) -> None:
        self.closed.add(position)
        for positions in (self.open, self.changes, self.refusals):
            if position in positions:
                positions.remove(position)

    def next_states(self, state: State) -> Iterator[State]:
        first: set[int] = set()  # changes by so many that one before it makes as well
        for position in self.changes:
            operation = self.operations[position]
            if state.happened >> position & 1 or not self.has_happened(operation.after, state):
                continue
            if operation.change in first and position not in self.waited_for:
                continue
            first.add(operation.change)
            stock = state.stock + operation.change
            if stock >= 0:
                yield self.refused(State(state.happened | 1 << position, stock))

    def has_happened(self, position: int | None, state: State) -> bool:
        if position is None or position in self.closed:
            return True
        return bool(state.happened >> position & 1)

    def refused(self, state: State) -> State:
        happened = state.happened
        for position in self.refusals:
            if self.operations[position].refuses_rightly(state.stock):
                happened |= 1 << position
        return State(happened, state.stock)

    def without_weaker(self, states: set[State]) -> set[State]:
        """Of states with the same changes, those that no other one has all refusals of."""
        refusals = sum(1 << position for position in self.refusals)
        groups: dict[int, list[int]] = {}
        stocks = {}
        for state in states:
            changes = state.happened & ~refusals
            stocks[changes] = state.stock
            groups.setdefault(changes, []).append(state.happened & refusals)
        return {
            State(changes | refused, stocks[changes])
            for changes, group in groups.items()
            for refused in group
            if not any(refused != other and refused & other == refused for other in group)
        }
