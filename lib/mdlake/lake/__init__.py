"""Object stores and table layouts: where bytes lie, which Parquet files make a table, what was committed."""
