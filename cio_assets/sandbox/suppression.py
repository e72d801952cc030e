"""Identifiers that are blocked: whoever is suppressed stays away until unsuppressed."""

from typing import Any

from cio_assets.sandbox.roster import fold

Key = tuple[str, str]


class Suppressed:
    """Who is suppressed, by every identifier they had."""

    def __init__(self) -> None:
        self._records: dict[Key, dict[str, Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._records)

    def add(self, identifiers: dict[str, str | None], now: int) -> None:
        """Block somebody's identifiers together."""
        keys = [_key(kind, value) for kind, value in identifiers.items() if value is not None]
        if keys:
            record = {"id": None, "email": None, "phone": None, **identifiers, "suppressed_at": now}
            self._records.update(dict.fromkeys(keys, record))

    def lift(self, kind: str, value: str) -> None:
        """Unblock an identifier and those that were blocked with it."""
        if (record := self._records.get(_key(kind, value))) is not None:
            self._records = {key: other for key, other in self._records.items() if other is not record}

    def blocks(self, kind: str, value: str, attributes: dict[str, Any]) -> bool:
        """Tell whether an identifier is blocked, the one given or one among attributes."""
        if _key(kind, value) in self._records:
            return True
        also = [(name, attributes[name]) for name in ("id", "email") if isinstance(attributes.get(name), str)]
        return any(_key(*pair) in self._records for pair in also)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per suppressed person."""
        return list({id(record): record for record in self._records.values()}.values())


def _key(kind: str, value: str) -> Key:
    return kind, fold(value) if kind == "email" else value
