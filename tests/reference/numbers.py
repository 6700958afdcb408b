"""FORMAT.md, Formula and Predicted: integers foretold from columns beside and from those before."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from .reader import Kind, Place, Reader, Unknown, Values, check, signed

Step = tuple[int, int]  # what, and its parent or constant


def expression(reader: Reader) -> list[Step]:
    steps = []
    for _ in range(reader.varint(32)):
        what = reader.u8()
        if what > 13:
            raise Unknown(f"step {what} of an expression")
        steps.append((what, reader.varint() if what == 0 else reader.zigzag() if what == 1 else 0))
    return steps


def evaluate(steps: list[Step], row: dict[int, int]) -> int:
    stack: list[int] = []
    for what, operand in steps:
        if what <= 1:
            stack.append(operand if what else row[operand])
        elif what == 13:
            day, month, year = stack.pop(), stack.pop(), stack.pop()
            stack.append(days(year, month, day))
        elif what >= 10:
            stack.append(date(stack.pop())[what - 10])
        elif what >= 8:
            stack.append(hhmm_to_minutes(stack.pop()) if what == 8 else minutes_to_hhmm(stack.pop()))
        else:
            right, left = stack.pop(), stack.pop()
            stack.append(signed(apply(what, left, right)))
    check(len(stack) == 1, "expression")
    return stack[0]


def hhmm_to_minutes(x: int) -> int:
    return signed(60 * (x // 100) + x % 100)


def minutes_to_hhmm(x: int) -> int:
    return signed(100 * (x // 60) + x % 60)


EPOCH = datetime.date(1970, 1, 1).toordinal()


def date(day: int) -> tuple[int, int, int]:
    found = datetime.date.fromordinal(EPOCH + day % 146_097)
    return found.year + 400 * (day // 146_097), found.month, found.day


def days(year: int, month: int, day: int) -> int:
    k = signed(12 * (year - 1970) + month - 1)
    first = datetime.date(1970 + k % 4800 // 12, k % 12 + 1, 1).toordinal() - EPOCH
    return signed(146_097 * (k // 4800) + first + day - 1)


def apply(what: int, left: int, right: int) -> int:
    if what <= 4:
        return (left + right, left - right, left * right)[what - 2]
    if what == 6:
        return 0 if right in (0, -1) else left % right
    if what == 7:
        left, right = signed(2 * left + right), signed(2 * right)
    return left // right if right else 0


def formula(place: Place) -> Values:
    how, low, size = place.reader.u8(), 0, 0
    check(how <= 3, "how")
    if how == 3:
        low, size = place.reader.zigzag(), place.reader.varint(2**40)
    steps = expression(place.reader)
    remains, corrections = place.child(Kind.I64, place.count), place.child(Kind.I64, place.count)
    beside = {parent: place.numbers(parent) for what, parent in steps if what == 0}
    values = []
    for i in range(place.count):
        f, rest = evaluate(steps, {parent: numbers[i] for parent, numbers in beside.items()}), remains[i]
        if how == 0:
            value = rest + f
        elif how == 1:
            value = rest * f
        elif how == 2:
            value = minutes_to_hhmm(signed(rest + f) % 1440)
        else:
            value = low + signed(rest + f) % size
        values.append(place.kind.wrap(value + corrections[i]))
    return values


@dataclass
class Errors:
    """How far a voice was off: lately, and by phase."""

    phases: list[float]
    lately: float = 0.5

    def move(self, phase: int, error: float) -> None:
        self.phases[phase] += (error - self.phases[phase]) * 0.2
        self.lately += (error - self.lately) * 0.02

    def sum(self, phase: int) -> float:
        return self.phases[phase] + self.lately


def quotient(product: float, divisor: float, otherwise: float) -> float:
    return product / divisor if divisor else otherwise


def expert(kind: int, a: int, b: int, v: list[float], columns: list[list[float]]) -> float:
    i = len(v)
    if i < a:
        return v[0] if v else 0.0
    before = v[i - a]
    if kind == 0 or (kind <= 2 and i < a + b):
        return before
    if kind == 1:
        return before + v[i - b] - v[i - a - b]
    if kind == 2:
        return quotient(before * v[i - b], v[i - a - b], before)
    x = columns[b]
    if kind == 3:
        return before + x[i] - x[i - a]
    return quotient(before * x[i], x[i - a], before)


def predicted(place: Place) -> Values:
    reader = place.reader
    experts = [(reader.varint(4), reader.varint(), reader.varint()) for _ in range(reader.varint(16))]
    lags = [reader.varint() for _ in range(reader.varint(16))]
    phases = reader.varint()
    parents = [reader.varint() for _ in range(reader.varint(16))]
    residuals = place.child(Kind.I64, place.count)
    columns = [[float(number) for number in place.numbers(parent)] for parent in parents]
    voices = [Errors([0.5] * phases) for _ in range(len(experts) + len(lags))]
    values: list[int] = []
    v: list[float] = []
    s: list[float] = []
    for i, residual in enumerate(residuals):
        phase = i % phases
        said = [expert(*one, v, columns) for one in experts]
        chosen = min(range(len(experts)), key=lambda one: voices[one].sum(phase))
        s.append(said[chosen])
        said += [s[i] * v[i - lag] / s[i - lag] if i >= lag and s[i - lag] > 0.5 else s[i] for lag in lags]
        last = min([chosen, *range(len(experts), len(said))], key=lambda one: voices[one].sum(phase))
        value = signed(residual + whole(said[last]))
        values.append(place.kind.wrap(value))
        v.append(float(value))
        for voice, one in zip(voices, said, strict=True):
            error = abs(v[i] - one) / (abs(v[i]) + abs(one) + 1)
            voice.move(phase, error if error <= 1 else 1.0)
    return values


def whole(h: float) -> int:
    if not math.isfinite(h):
        return 0
    g = math.floor(h + 0.5)
    return g if abs(g) < 4 * 10**18 else 0
