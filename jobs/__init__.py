"""Spark applications, one verb a file: `spark-submit --py-files dist/mdlake-<version>.zip jobs/<verb>.py`.

Each reads as options -> plan -> spread -> commit. Tasks carry paths and choices, and the library does the
work; only ingest moves rows through Spark, because there Spark's own SQL engine is the right tool.
"""
