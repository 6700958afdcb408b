"""Archives: tables kept as Parquet files of blocks, described by a committed manifest.

One verb a file: `encode`, `restore`, `verify`, `vacuum`, `inspect`; `reader` opens an archive as a table.
"""
