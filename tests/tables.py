"""Tables that try what archives promise: every type that Parquet carries, odd names, awkward values."""

from __future__ import annotations

import datetime
import decimal
import struct

import numpy as np
import pyarrow as pa

ROWS = 7
NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
_DECIMALS = [decimal.Decimal("1.25"), None, decimal.Decimal("-99999.99"), decimal.Decimal("0.00")]
_WIDE = [decimal.Decimal("1e60"), None, decimal.Decimal(-1), decimal.Decimal(0)]


def every_type() -> pa.Table:
    """A column of every type that Parquet can carry, with nulls, and with the field and schema metadata that hurt."""
    columns = {**_numbers(), **_times(), **_bytes(), **_nested()}
    fields = [
        pa.field(name, array.type, nullable=name != "never null", metadata={"about": name, "": "\x00é"})
        for name, array in columns.items()
    ]
    schema = pa.schema(fields, metadata={"owner": "tests", "binary": b"\xff\x00"})
    return pa.Table.from_arrays(list(columns.values()), schema=schema)


def followers(rows: int) -> pa.Table:
    """Columns of several types that follow a key, in no order; one has its own values and nulls."""
    random = np.random.default_rng(3)
    key = random.integers(0, 12, rows)
    code = random.integers(0, 1 << 40, 12)
    return pa.table(
        {
            "key": pa.array([f"key {k}" for k in key]).dictionary_encode(),
            "name": [f"a name that follows {k * k % 7} and {k}" for k in key],
            "code": code[key],
            "view": pa.array([f"view of {k % 5} from {code[k]}" for k in key], pa.string_view()),
            "list": [[float(k), None] for k in key],
            "own": pa.array(random.integers(0, 50, rows), mask=key == 3),
        }
    )


def odd_names() -> pa.Table:
    """Names that are duplicate, differ only by case, or are hard to spell."""
    names = [
        "a",
        "a",
        "A",
        "a~2",
        "",
        " ",
        "a b",
        "a.b",
        "é",
        "日本",
        'quo"te',
        "back\\slash",
        "new\nline",
        "a/b",
        "[x]",
    ]
    return pa.Table.from_arrays([pa.array([i, None, -i]) for i in range(len(names))], names=names)


def _seven(values: list) -> list:
    return (values * ROWS)[:ROWS]


def _numbers() -> dict[str, pa.Array]:
    found: dict[str, pa.Array] = {"never null": pa.array(range(ROWS))}
    for bits in (8, 16, 32, 64):
        found[f"int{bits}"] = pa.array(_seven([-(2 ** (bits - 1)), None, 2 ** (bits - 1) - 1, 0]), f"int{bits}")
        found[f"uint{bits}"] = pa.array(_seven([0, None, 2**bits - 1]), f"uint{bits}")
    for bits in (16, 32, 64):
        values = np.array(_seven([-0.0, 0.0, np.inf, -np.inf, np.nan, 1.5, -2.25]), f"float{bits}")
        found[f"float{bits}"] = pa.array(values, mask=np.arange(ROWS) == 3)
    found["payload"] = pa.array([NAN_WITH_PAYLOAD, -0.0, 5e-324, None, np.nan, 1.7976931348623157e308, 0.1])
    found["bool"] = pa.array(_seven([True, None, False]))
    found["decimal128"] = pa.array(_seven(_DECIMALS), pa.decimal128(9, 2))
    found["decimal256"] = pa.array(_seven(_WIDE), pa.decimal256(70, 0))
    found["null"] = pa.nulls(ROWS)
    found["all null"] = pa.nulls(ROWS, pa.int32())
    return found


def _times() -> dict[str, pa.Array]:
    found: dict[str, pa.Array] = {
        "date32": pa.array(_seven([0, None, -719162, 2932896]), pa.int32()).cast(pa.date32()),
        "time32": pa.array(_seven([0, None, 86_399_999]), pa.int32()).cast(pa.time32("ms")),
        "time64us": pa.array(_seven([0, None, 86_399_999_999]), pa.int64()).cast(pa.time64("us")),
        "time64ns": pa.array(_seven([0, None, 86_399_999_999_999]), pa.int64()).cast(pa.time64("ns")),
        "zoned": pa.array(_seven([0, None, -1]), pa.int64()).cast(pa.timestamp("us", "America/New_York")),
        "duration": pa.array(_seven([datetime.timedelta(days=-1), None]), pa.duration("us")),
    }
    for unit in ("ms", "us", "ns"):
        values = pa.array(_seven([0, None, -(2**63), 2**63 - 1]), pa.int64())
        found[f"timestamp {unit}"] = values.view(pa.timestamp(unit))
    return found


def _bytes() -> dict[str, pa.Array]:
    texts = _seven(["", None, "a", "Grüße \U0001f600", "a" * 1000])
    raw = _seven([b"", None, b"\x00\xff", bytes(range(256))])
    return {
        "string": pa.array(texts),
        "large_string": pa.array(texts, pa.large_string()),
        "string_view": pa.array(texts, pa.string_view()),
        "binary": pa.array(raw),
        "large_binary": pa.array(raw, pa.large_binary()),
        "binary_view": pa.array(raw, pa.binary_view()),
        "fixed": pa.array(_seven([b"abc", None, b"\x00\x00\xff"]), pa.binary(3)),
        "dictionary": pa.array(_seven(["x", None, "y", "x"])).dictionary_encode(),
        "extension": pa.ExtensionArray.from_storage(pa.uuid(), pa.array(_seven([b"u" * 16, None]), pa.binary(16))),
    }


def _nested() -> dict[str, pa.Array]:
    inner = pa.struct([pa.field("x", pa.float32()), pa.field("y", pa.list_(pa.string()))])
    structs = _seven([{"x": -0.0, "y": ["a", None]}, None, {"x": None, "y": []}, {"x": float("nan"), "y": None}])
    return {
        "list": pa.array(_seven([[1, None], None, [], [2, 3, 4]]), pa.list_(pa.int16())),
        "large_list": pa.array(_seven([[1.5], None, []]), pa.large_list(pa.float64())),
        "fixed_size_list": pa.array(_seven([[1, 2], None, [None, 4]]), pa.list_(pa.int32(), 2)),
        "struct": pa.array(structs, inner),
        "map": pa.array(_seven([[("k", 1), ("l", None)], None, []]), pa.map_(pa.string(), pa.int64())),
        "deep": pa.array(_seven([[structs[:2], None], None, []]), pa.list_(pa.list_(inner))),
    }
