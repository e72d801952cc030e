"""The README's table of odd values, from the rules: `python -m cio_assets.reverse_etl.docs`."""

from __future__ import annotations

from cio_assets.reverse_etl.operations.rules import OUTCOMES


def table_of_outcomes() -> str:
    """Markdown: what a value of the source becomes."""
    lines = ["| of | in the source | in Customer.io, or the reason of its rejection |", "| --- | --- | --- |"]
    lines += [f"| {what} | {value} | {_reason(outcome)} |" for what, value, outcome in OUTCOMES]
    return "\n".join(lines)


def _reason(outcome: str) -> str:
    return f"`{outcome}`" if "_" in outcome and " " not in outcome else outcome


if __name__ == "__main__":
    print(table_of_outcomes())
