"""What was done and what it cost, as plain Parquet that any engine can query.

One file per run and kind, `<stats>/<kind>/<run>.parquet`. The kinds and their columns are declared in
`schemas/statistics.json`; every file has two columns more, `run` and `recorded`. Recording a run again
replaces its file, so a stage that was killed and repeated is counted once.
"""

from mdlake.statistics.records import KINDS, read, read_latest, record

__all__ = ["KINDS", "read", "read_latest", "record"]
