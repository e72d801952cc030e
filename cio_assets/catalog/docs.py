"""The README's table of tables, from the catalog: `python -m cio_assets.catalog.docs`."""

from __future__ import annotations

from cio_assets.catalog import TABLES, Table


def table_of_tables() -> str:
    """Markdown: every table, its key, refresh, partitions and requests."""
    lines = ["| table | key | refresh | partitions | requests of a full read |", "| --- | --- | --- | --- | --- |"]
    for table in TABLES.values():
        key = ", ".join(table.key)
        cells = (f"[`{table.name}`]({table.docs_url})", key, table.refresh.value, _partitions(table), table.requests)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _partitions(table: Table) -> str:
    if table.refresh.value == "window":
        return "day"
    return {1: "period", 2: "month × period"}[table.series] if table.series else ""


if __name__ == "__main__":
    print(table_of_tables())
