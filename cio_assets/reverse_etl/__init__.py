"""Reverse ETL: rows of the warehouse become operations of the Track API. No Dagster in here."""
