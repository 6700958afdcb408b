"""FORMAT.md, Matrices: levels of weights, each as decisions that rows, columns and neighbours foretell."""

from __future__ import annotations

from dataclasses import dataclass, field

from .binary import Interval
from .matrix_parts import (
    CONSTANT,
    IMAGES,
    POSITION,
    SIGN,
    SIZE,
    Kinds,
    Mixer,
    alike_odds,
    few,
    h,
    ratio,
    share,
    sign,
)  # fmt: skip
from .mixed import STRETCH
from .reader import Kind, Place, Reader, Values, check

BEFORE = (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0)  # left, above, above left and right, further


@dataclass
class Grid:
    rows: int
    channels: int
    height: int
    width: int
    bias: int

    @property
    def length(self) -> int:
        return self.channels * self.height * self.width + self.bias


@dataclass
class Line:
    """What is known of a row, a column or the whole matrix: cells, those not zero, the sum of magnitudes, the last."""

    cells: int = 0
    ones: int = 0
    sum: int = 0
    last: int = 0

    def add(self, value: int) -> None:
        self.ones, self.sum, self.last = self.ones + 1, self.sum + abs(value), value


@dataclass
class Cell:
    """What is known of a cell before it is decoded."""

    j: int
    channel: int
    y: int
    x: int
    kind: int
    made: int  # -1 if not known
    near: list[int]
    row: int
    column: int
    like: int = 0

    @property
    def size_near(self) -> int:
        return sum(abs(value) * weight for value, weight in zip(self.near, (2, 2, 1, 1), strict=False))

    @property
    def towards(self) -> int:
        return sum(value * weight for value, weight in zip(self.near, (2, 2, 1, 1), strict=False))


@dataclass
class Matrix:
    grid: Grid
    mixer: Mixer
    producers: list[int]
    lines: list[list[int]] = field(default_factory=list)  # the rows that are not all zero
    all: Line = field(default_factory=Line)
    row: Line = field(default_factory=Line)
    current: list[int] = field(default_factory=list)
    beside: list[list[int]] = field(default_factory=list)
    agreed: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.columns = [Line() for _ in range(self.grid.length)]

    def decode_row(self, largest: int, signed: int) -> list[int]:
        self.row, self.current = Line(), []
        self.beside = self.lines[-256:]
        self.agreed = [[0, 0] for _ in self.beside]
        for j in range(self.grid.length):
            cell = self.cell(j)
            if cell.made == 0:
                bit = self.mixer.alone("dead", 1023)
            else:
                cell.like = self.alike(j)
                bit = self.mixer.decide(POSITION, cell.kind, cell.row, *self.position(cell))
                self.row.cells += 1
                self.all.cells += 1
            self.columns[j].cells += 1
            value = 0
            if bit:
                positive = self.mixer.decide(SIGN, cell.kind, 0, *self.sign(cell)) if signed else 1
                size = self.size(cell, positive, largest)
                value = size if positive else -size
                for line in (self.row, self.columns[j], self.all):
                    line.add(value)
                for count, line in zip(self.agreed, self.beside, strict=True):
                    if line[j]:
                        count[0] += (line[j] > 0) == positive
                        count[1] += 1
            self.current.append(value)
        self.lines.append(self.current)
        return self.current

    def cell(self, j: int) -> Cell:
        grid, area = self.grid, self.grid.height * self.grid.width
        biased = j == grid.channels * area
        channel, y, x = j // area, j % area // grid.width, j % grid.width
        kind = (
            Kinds.BIAS if biased else Kinds.FLAT if area == 1 else Kinds.IMAGE if grid.channels == 1 else Kinds.KERNEL
        )
        linked = len(self.producers) == grid.channels and not biased
        near = [self.pixel(channel, y + dy, x + dx) if kind in IMAGES else 0 for dy, dx in BEFORE]
        row, column, every = self.row, self.columns[j], self.all
        doubt = CONSTANT["doubt"]
        return Cell(
            *(j, channel, y, x, kind, self.producers[channel] if linked else -1, near),
            ratio(row.sum, row.cells, every.sum, every.cells, doubt),
            ratio(column.sum, column.cells, every.sum, every.cells, doubt),
        )

    def pixel(self, channel: int, y: int, x: int) -> int:
        """The value of this row there, 0 outside of the plane."""
        grid = self.grid
        inside = 0 <= y < grid.height and 0 <= x < grid.width
        return self.current[(channel * grid.height + y) * grid.width + x] if inside else 0

    def alike(self, j: int) -> int:
        odds = (sign(line[j]) * alike_odds(*count) for line, count in zip(self.beside, self.agreed, strict=True))
        return min(max(sum(odds), -2047), 2047)

    def position(self, cell: Cell) -> tuple[int, list[int], list[tuple[int, ...]]]:
        """The base, what numbers say, and the contexts of the counters."""
        k, column, grid = CONSTANT, self.columns[cell.j], self.grid
        every = (self.all.ones << 16) + k["density"] * k["density cells"]
        every = min(max(every // (self.all.cells + k["density cells"]), 16), 65520)
        of_row = share(self.row.ones, self.row.cells, every, k["row"])
        of_near, in_window, ring = every, 0, 0
        beside, across, behind = (sum(v != 0 for v in cell.near[i : i + 2]) for i in (0, 2, 4))
        if cell.kind in IMAGES:
            around = [
                (1 if dy and dx else 2, self.columns[cell.j + dy * grid.width + dx].ones)
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
                if (dy or dx) and 0 <= cell.y + dy < grid.height and 0 <= cell.x + dx < grid.width
            ]
            total, columns = sum(w * ones for w, ones in around), sum(w for w, _ in around)
            of_near = share(total, columns * column.cells, every, k["near"])
            in_window = STRETCH[share(*self.window(cell, 3), of_row, k["window"])] - STRETCH[of_row]
            ring = self.window(cell, 2)[0] - beside - across
        elif cell.kind == Kinds.FLAT:
            beside, across = (int(cell.j > back and self.current[cell.j - 1 - back] != 0) for back in (0, 1))
        of_column = share(column.ones, column.cells, of_near, k["column"])
        base, near = STRETCH[every], STRETCH[of_near]
        made = h(cell.made * 16 * len(self.producers) // sum(self.producers)) if cell.made > 0 else 15
        contexts = [
            (beside, across, behind, cell.kind),
            (cell.row, cell.column, cell.kind),
            (made, cell.column, cell.kind),
            (h(cell.size_near), cell.row, cell.kind),
            (beside, across, few(ring), cell.kind),
            (min(abs(cell.like) >> 5, 31), cell.kind),
        ]
        return base, [STRETCH[of_row] - base, STRETCH[of_column] - near, near - base, in_window], contexts

    def window(self, cell: Cell, radius: int) -> tuple[int, int]:
        places = [
            (cell.y + dy, cell.x + dx)
            for dy in range(-radius, 1)
            for dx in range(-radius, radius + 1)
            if (dy < 0 or dx < 0) and cell.y + dy >= 0 and 0 <= cell.x + dx < self.grid.width
        ]
        return sum(self.pixel(cell.channel, *place) != 0 for place in places), len(places)

    def sign(self, cell: Cell) -> tuple[int, list[int], list[tuple[int, ...]]]:
        towards = sign(cell.towards) * h(abs(cell.towards))
        lasts = self.row.last > 0, sign(self.columns[cell.j].last)
        return 0, [cell.like], [(*map(sign, cell.near[:4]), cell.kind), (towards, cell.kind), (*lasts, cell.kind)]

    def size(self, cell: Cell, positive: int, largest: int) -> int:
        bits, found = 0, 1
        while 2 << bits <= largest and self.node(cell, bits, positive):
            bits += 1
        for left in reversed(range(bits)):
            above, bit = bits - 1 - left, 0
            if (2 * found + 1) << left <= largest:
                lower = 32 + 2 * bits + found % 2 if above == 1 else 64 + 4 * bits + min(above - 2, 3)
                bit = self.node(cell, lower if above else 16 + bits, positive)
            found = 2 * found + bit
        return found

    def node(self, cell: Cell, node: int, positive: int) -> int:
        row, column, every = self.row, self.columns[cell.j], self.all
        root = self.mixer.counters["root", node, positive]
        contexts = [
            (node, ratio(row.sum, row.ones, every.sum, every.ones, 16)),
            (node, ratio(column.sum, column.ones, every.sum, every.ones, 16)),
            (node, h(cell.size_near)),
            (node, min(abs(row.last), 7), cell.kind),
            (node, (cell.towards > 0) == positive, h(abs(cell.towards))),
            (node, cell.row, cell.column),
            (node, (cell.like > 0) == positive, min(abs(cell.like) >> 5, 31)),
        ]
        bit = self.mixer.decide(SIZE, min(node, 7), 0, root.stretch(), [], contexts)
        root.learn(bit, CONSTANT["limit of magnitudes"])
        return bit


def read_grids(reader: Reader, count: int) -> list[Grid]:
    grids, before = [], 1
    for _ in range(count):
        flags, rows = reader.u8(), reader.varint()
        channels = reader.varint() if flags & 2 else before
        height = reader.varint() if flags & 4 else 1
        width = reader.varint() if flags & 8 else height
        check(flags < 16 and rows * channels * height * width > 0, "matrix")
        grids.append(Grid(rows, channels, height, width, flags & 1))
        before = rows
    return grids


def matrices(place: Place) -> Values:
    reader = place.reader
    grids = read_grids(reader, reader.varint(place.count))
    largest, signed = divmod(reader.varint(), 2)
    check(place.kind in (Kind.I8, Kind.I16, Kind.U8) and 1 <= largest <= 1 << 15, "kind or largest")
    for grid in grids:
        longest = max(grid.rows, grid.length)
        check(longest <= 1 << 22 and grid.rows * grid.length * longest * largest <= 1 << 57, "size of a matrix")
    check(sum(grid.rows * grid.length for grid in grids) == place.count, "shapes")
    interval, values, producers = Interval(reader.counted()), [], []
    mixer = Mixer(interval)
    for grid in grids:
        mixer.forget()
        matrix, made, live = Matrix(grid, mixer, producers), [], list[int]()
        for _ in range(grid.rows):
            live.append(mixer.alone(("live", *([0, *live][-2:] if live else [])), CONSTANT["limit of rows"]))
            values += matrix.decode_row(largest, signed) if live[-1] else [0] * grid.length
            made.append(matrix.row.ones if live[-1] else 0)
        producers = made
    interval.end()
    return values
