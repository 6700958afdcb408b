"""A series of numbers predicted by experts: simple extrapolations; at each step the one that did best is asked.

An expert is (kind, a, b), a and b lags; v the series, x a column beside it:
    0  v[i-a]
    1  the plane       v[i-a] + v[i-b] - v[i-a-b]
    2  the proportion  v[i-a] * v[i-b] / v[i-a-b]
    3  the step of x   v[i-a] + x[i] - x[i-a], b the number of the column
    4  its growth      v[i-a] * x[i] / x[i-a]
The best of them is then corrected by how it erred some lags before. How well each did is remembered twice: lately, and
at this phase of a period. In IEEE 754 binary64 with single operations in the order written: the same on every machine.
"""

import numpy as np
from numba import int64, njit

FARTHEST = 4.0e18


@njit(cache=True, nogil=True)
def expert(kind, a, b, values, beside, i):
    """What one expert says of step i; a lag that reaches before the start is the first value."""
    if i < a:
        return float(values[0]) if i else 0.0
    near = float(values[i - a])
    if kind == 1 or kind == 2:
        if i < a + b:
            return near
        far, both = float(values[i - b]), float(values[i - a - b])
        if kind == 1:
            return near + far - both
        return near * far / both if both != 0.0 else near
    if kind == 3:
        return near + float(beside[b, i]) - float(beside[b, i - a])
    if kind == 4:
        before = float(beside[b, i - a])
        return near * float(beside[b, i]) / before if before != 0.0 else near
    return near


@njit(cache=True, nogil=True)
def run(decoding, values, residuals, experts, corrections, beside, at_phase, lately, says, firsts):
    """Fills residuals from values or, decoding, values from residuals, both int64.

    at_phase[phase, expert] and lately[expert] are the errors remembered, says and firsts work space; all start as 0.5,
    0.5, 0, 0.
    """
    singles, phases = experts.shape[0], at_phase.shape[0]
    for i in range(values.size):
        errors = at_phase[i % phases]
        best = 0
        for k in range(singles):
            says[k] = expert(experts[k, 0], experts[k, 1], experts[k, 2], values, beside, i)
            if errors[k] + lately[k] < errors[best] + lately[best]:
                best = k
        firsts[i] = says[best]
        for c in range(corrections.size):
            lag, k = corrections[c], singles + c
            says[k] = firsts[i]
            if i >= lag and firsts[i - lag] > 0.5:
                says[k] = firsts[i] * float(values[i - lag]) / firsts[i - lag]
            if errors[k] + lately[k] < errors[best] + lately[best]:
                best = k
        guess = np.floor(says[best] + 0.5)
        predicted = int64(guess) if -FARTHEST < guess < FARTHEST else int64(0)
        if decoding:
            values[i] = residuals[i] + predicted
        else:
            residuals[i] = values[i] - predicted
        truth = float(values[i])
        for k in range(says.size):
            error = abs(truth - says[k]) / (abs(truth) + abs(says[k]) + 1.0)
            if not error <= 1.0:
                error = 1.0
            errors[k] += (error - errors[k]) * 0.2
            lately[k] += (error - lately[k]) * 0.02
