"""The column that a label is made of."""

from __future__ import annotations

import pyarrow as pa

from mdlake.errors import InvalidArgumentError


def label_column(table: pa.Table, column: str, label: str) -> pa.Array:
    """The column in one piece, or an error that says which columns there are."""
    if column not in table.column_names:
        raise InvalidArgumentError(
            f"there is no such column to make the label {label!r} of; there are {', '.join(table.column_names)}",
            column=column,
        )
    return table[column].combine_chunks()
