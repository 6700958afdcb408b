"""Small programs over the numbers of a row: what a formula computes. All in 64-bit integers, wrapping, so that every
machine gets the same; dividing by nothing gives nothing. FORMAT.md, "formula", has the operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdlake import calendar
from mdlake.errors import CorruptError
from mdlake.wire import Reader, Writer

Numbers = NDArray[np.int64]
MAX_STEPS = 32


def minutes(clock: Numbers) -> Numbers:
    """Minutes since midnight of a time written HHMM."""
    return clock // 100 * 60 + clock % 100


def clock(minutes_: Numbers) -> Numbers:
    """The time written HHMM so many minutes after midnight."""
    return minutes_ // 60 * 100 + minutes_ % 60


def floor_divide(left: Numbers, right: Numbers) -> Numbers:
    safe = np.where((right == 0) | (right == -1), 1, right)  # -1 apart: the least number has no opposite
    return np.where(right == 0, 0, np.where(right == -1, -left, left // safe))


def modulo(left: Numbers, right: Numbers) -> Numbers:
    safe = np.where((right == 0) | (right == -1), 1, right)
    return left % safe


def nearest(left: Numbers, right: Numbers) -> Numbers:
    """left / right to the nearest whole number, halves up."""
    return floor_divide(2 * left + right, 2 * right)


@dataclass(frozen=True)
class Operation:
    """What a step does with so many results of the steps before."""

    name: str
    operands: int
    apply: Callable[..., Numbers]


OPERATIONS: Mapping[int, Operation] = {
    2: Operation("+", 2, np.add),
    3: Operation("-", 2, np.subtract),
    4: Operation("*", 2, np.multiply),
    5: Operation("//", 2, floor_divide),
    6: Operation("%", 2, modulo),
    7: Operation("/", 2, nearest),
    8: Operation("minutes", 1, minutes),
    9: Operation("clock", 1, clock),
    10: Operation("year", 1, calendar.year),
    11: Operation("month", 1, calendar.month),
    12: Operation("day", 1, calendar.day_of_month),
    13: Operation("days", 3, calendar.days),
}
_PARENT, _CONSTANT = 0, 1
_BY_NAME = {operation.name: code for code, operation in OPERATIONS.items()}


@dataclass(frozen=True)
class Expression:
    """Steps in postfix order: (0, parent), (1, constant), (operation, 0)."""

    steps: tuple[tuple[int, int], ...]

    @staticmethod
    def parent(number: int) -> Expression:
        return Expression(((_PARENT, number),))

    @staticmethod
    def constant(value: int) -> Expression:
        return Expression(((_CONSTANT, value),))

    def __call__(self, name: str, *others: Expression | int) -> Expression:
        """This, and what an operation of that name does with it: `x("-", y)`, `x("minutes")`."""
        steps = self.steps
        for other in others:
            steps += (Expression.constant(other) if isinstance(other, int) else other).steps
        return Expression((*steps, (_BY_NAME[name], 0)))

    @property
    def parents(self) -> tuple[int, ...]:
        return tuple(sorted({value for code, value in self.steps if code == _PARENT}))

    def renumbered(self, places: Mapping[int, int]) -> Expression:
        return Expression(tuple((c, places[v]) if c == _PARENT else (c, v) for c, v in self.steps))

    def evaluate(self, numbers: Callable[[int], Numbers | None], count: int) -> Numbers:
        """int64 [count]; `numbers` gives a parent's.

        Raises:
            CorruptError: the steps make no expression, or a parent has no numbers.
        """
        stack: list[Numbers] = []
        for code, value in self.steps:
            if operation := OPERATIONS.get(code):
                if len(stack) < operation.operands:
                    raise CorruptError("a formula's operation lacks an operand")
                operands, stack = stack[-operation.operands :], stack[: -operation.operands]
                with np.errstate(over="ignore"):
                    stack.append(operation.apply(*operands))
            else:
                found = numbers(value) if code == _PARENT else np.full(count, value, np.int64)
                if found is None:
                    raise CorruptError(f"a formula asks for the numbers of parent {value}, which has none")
                stack.append(found)
        if len(stack) != 1:
            raise CorruptError(f"a formula leaves {len(stack)} results")
        return stack[0]

    def write(self, writer: Writer) -> None:
        writer.varint(len(self.steps))
        for code, value in self.steps:
            writer.byte(code)
            if code == _PARENT:
                writer.varint(value)
            elif code == _CONSTANT:
                writer.varint(value << 1 if value >= 0 else (-value << 1) - 1)

    @staticmethod
    def read(reader: Reader) -> Expression:
        count = reader.varint()
        if not 1 <= count <= MAX_STEPS:
            raise CorruptError(f"a formula of {count} steps, not 1 to {MAX_STEPS}")
        steps = []
        for _ in range(count):
            code = reader.byte()
            if code not in (_PARENT, _CONSTANT, *OPERATIONS):
                raise CorruptError(f"a formula has no operation {code}")
            value = reader.varint() if code in (_PARENT, _CONSTANT) else 0
            if code == _CONSTANT:
                value = (value >> 1) if not value & 1 else -((value + 1) >> 1)
                if not -(1 << 62) < value < 1 << 62:
                    raise CorruptError("a formula's constant is too large")
            steps.append((code, value))
        if not _is_proper(steps):
            raise CorruptError("the steps of a formula make no expression")
        return Expression(tuple(steps))

    def __str__(self) -> str:
        return self.told("parent{}".format)

    def told(self, name: Callable[[int], str]) -> str:
        """As people write it; `name` is what a parent is called."""
        stack: list[str] = []
        for code, value in self.steps:
            if operation := OPERATIONS.get(code):
                operands, stack = stack[-operation.operands :], stack[: -operation.operands]
                infix = operation.operands == 2
                stack.append(
                    f"({f' {operation.name} '.join(operands)})" if infix else f"{operation.name}({', '.join(operands)})"
                )
            else:
                stack.append(name(value) if code == _PARENT else str(value))
        return stack[-1]


def _is_proper(steps: Sequence[tuple[int, int]]) -> bool:
    """Whether every operation has its operands, and one result is left."""
    results = 0
    for code, _ in steps:
        operands = OPERATIONS[code].operands if code in OPERATIONS else 0
        if results < operands:
            return False
        results += 1 - operands
    return results == 1
