"""What a push sensor remembers between two looks at its source, and when two looks tell of a change. No I/O."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Look:
    """A source as it was seen, in fingerprints (`reverse_etl.fingerprint`).

    `content` is None where it was not asked for, `materialization` is the number of the newest event of the source's
    asset, `file` tells that the warehouse's file is the same.
    """

    watermark: str | None = None
    content: str | None = None
    materialization: int | None = None
    file: str | None = None


@dataclass(frozen=True)
class Memory:
    """The last look and what was asked for because of it: a sensor's cursor. Holds hashes, numbers and times only.

    `since` is when the sensor first looked, so that a sensor whose cursor was reset does not ask by an old run key.
    """

    since: int = 0
    changes: int = 0
    attempt: int = 0
    asked: float = 0.0
    last: Look = Look()

    @classmethod
    def read(cls, cursor: str | None) -> Memory:
        """The cursor that `written` made; empty for none, and for one that somebody else wrote."""
        try:
            values: dict[str, Any] = json.loads(cursor or "{}")
            return cls(**{**values, "last": Look(**values.get("last", {}))}).checked()
        except (TypeError, ValueError, AttributeError):
            return cls()

    def checked(self) -> Memory:
        """Itself; TypeError where a value is of another kind."""
        if not all(isinstance(value, (int, float)) for value in (self.since, self.changes, self.attempt, self.asked)):
            raise TypeError("not a number")
        for field in fields(Look):
            if not isinstance(getattr(self.last, field.name), (str, int, type(None))):
                raise TypeError(field.name)
        return self

    def written(self) -> str:
        """The cursor."""
        return json.dumps(asdict(self))

    @property
    def first(self) -> bool:
        """Whether nothing was looked at yet."""
        return self.changes == 0

    def wants_content(self, watermark: str | None, materialization: int | None, *, tracked: bool) -> bool:
        """Whether this look has to read all rows.

        Without a watermark every look does. With one, a look does it at a new materialization, for a watermark can
        miss changed rows, and at a change that it tells itself, so that the materialization that comes with this
        change finds its rows known. Where the source is no asset of Dagster's (`tracked`) none will come.
        """
        if watermark is None:
            return True
        news = self.first or watermark != self.last.watermark or materialization != self.last.materialization
        return tracked and news

    def differs(self, look: Look) -> bool:
        """Whether the source has changed since the last look."""
        if self.first:
            return True
        if look.content is not None:
            return look.content != self.last.content
        return look.watermark != self.last.watermark

    def seen(self, look: Look) -> Memory:
        """After a look that asked for nothing. Rows that were not read are those that were known."""
        return replace(self, last=replace(look, content=look.content or self.last.content))

    def changed(self, look: Look, moment: float) -> Memory:
        """After a look that told of a change, for which a run is asked."""
        since = self.since or int(moment)
        return replace(self, since=since, changes=self.changes + 1, attempt=0, asked=moment, last=look)

    def again(self, look: Look, moment: float) -> Memory:
        """After a look at an unchanged source whose push failed and is asked for once more."""
        return replace(self.seen(look), attempt=self.attempt + 1, asked=moment)

    def run_key(self, sync: str) -> str:
        """Of the run that is asked for: another one for every change, also for one that undoes the change before."""
        fingerprint = self.last.content or self.last.watermark or ""
        return f"{sync}:{self.since}:{self.changes}.{self.attempt}:{fingerprint[:16]}"
