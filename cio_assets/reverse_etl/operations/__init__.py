"""Rows become operations of the Track API, by SQL that checks every rule. Reads no row, sends nothing."""

from cio_assets.reverse_etl.operations.needed import attribute_columns, missing_columns
from cio_assets.reverse_etl.operations.select import gone_sql, has_time, operations_sql, window_sql

__all__ = ["attribute_columns", "gone_sql", "has_time", "missing_columns", "operations_sql", "window_sql"]
