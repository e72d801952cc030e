"""Who is, or ever was, in the workspace: numbers, identifiers and when each came; nothing about attributes."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

CIO_ID = re.compile(r"a3[0-9a-f]{6,12}")


class Column:
    """A numpy column that grows by doubling, so that one person more costs nothing."""

    def __init__(self, kind: Any) -> None:
        self._room = np.zeros(1024, kind)
        self._size = 0

    def append(self, value: Any) -> None:
        """Add one value."""
        if self._size == len(self._room):
            self._room = np.append(self._room, np.zeros(max(1024, self._size), self._room.dtype))
        self._room[self._size] = value
        self._size += 1

    def extend(self, values: np.ndarray) -> None:
        """Add many values."""
        self._room = np.append(self._room[: self._size], values)
        self._size = len(self._room)

    @property
    def values(self) -> np.ndarray:
        """The column as an array; writing into it writes into the column."""
        return self._room[: self._size]


class CioIds(Sequence[str]):
    """The cio_id of every number: it follows from the number, so none is stored."""

    def __init__(self, ids: Sequence[Any]) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, number: Any) -> Any:
        return f"a3{number + 1:06x}"

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self._ids)))

    def number(self, cio_id: str) -> int | None:
        """Return the number behind a cio_id, None where there never was one."""
        if not CIO_ID.fullmatch(cio_id):
            return None
        number = int(cio_id.removeprefix("a3"), base=16) - 1
        return number if 0 <= number < len(self._ids) and self[number] == cio_id else None


class Roster:
    """Everybody who ever was in the workspace; `alive` tells who still is."""

    def __init__(self) -> None:
        self.ids: list[str | None] = []
        self.emails: list[str | None] = []
        self.cio_ids = CioIds(self.ids)
        self.by_id: dict[str, int] = {}
        self.by_email: dict[str, int] = {}
        self.by_phone: dict[str, int] = {}
        self._created = Column(np.int64)
        self._alive = Column(bool)
        self.version = 0

    @property
    def created(self) -> np.ndarray:
        """When each person came, in unix seconds."""
        return self._created.values

    @property
    def alive(self) -> np.ndarray:
        """Whether each person is still there."""
        return self._alive.values

    def enter(self, identifier: str | None, email: str | None, now: int) -> int:
        """Add one person whose identifiers are free, and return the number."""
        number = len(self.ids)
        self.ids.append(identifier)
        self.emails.append(email)
        self._created.append(now)
        self._alive.append(True)
        if identifier is not None:
            self.by_id[identifier] = number
        if email is not None:
            self.by_email[fold(email)] = number
        self.version += 1
        return number

    def assign(self, number: int, kind: str, value: str | None) -> None:
        """Give a person an `id` or `email` that is free, or none, in place of the one before."""
        values, index = (self.ids, self.by_id) if kind == "id" else (self.emails, self.by_email)
        before = values[number]
        if before is not None:
            index.pop(before if kind == "id" else fold(before), None)
        values[number] = value
        if value is not None:
            index[value if kind == "id" else fold(value)] = number
        self.version += 1

    def delete(self, numbers: np.ndarray) -> None:
        """Delete people; their activities stay as those of deleted people."""
        for number in numbers.tolist():
            self.leave(number)

    def leave(self, number: int) -> None:
        """Delete one person, whose identifiers become free."""
        self._alive.values[number] = False
        if (identifier := self.ids[number]) is not None:
            self.by_id.pop(identifier, None)
        if (email := self.emails[number]) is not None:
            self.by_email.pop(fold(email), None)
        self.version += 1

    def living(self) -> np.ndarray:
        """Return the numbers of everybody who is still there, oldest first."""
        return np.flatnonzero(self.alive)

    def find(self, kind: str, value: str) -> int | None:
        """Find a living person by `id`, `email`, `phone` or `cio_id` (bare or with the `cio_` of paths)."""
        if kind == "id":
            return self.by_id.get(value)
        if kind == "email":
            return self.by_email.get(fold(value))
        if kind == "phone":
            return self.by_phone.get(value)
        number = self.cio_ids.number(value.removeprefix("cio_"))
        return number if number is not None and self.alive[number] else None

    def find_ever(self, kind: str, value: str) -> int | None:
        """Find a person by `id`, `email` or `cio_id`, living or deleted since."""
        if kind == "cio_id":
            return self.cio_ids.number(value.removeprefix("cio_"))
        number = self.find(kind, value)
        if number is None:
            values = {"id": self.ids, "email": self.emails}[kind]
            number = values.index(value) if value in values else None
        return number

    def identifiers(self, number: int) -> dict[str, Any]:
        """Return `{email, id, cio_id}` of one person."""
        return {"email": self.emails[number], "id": self.ids[number], "cio_id": self.cio_ids[number]}


def fold(email: str) -> str:
    """Write an email the way in which it is compared; the same object where it is written so already."""
    lower = email.lower()
    return email if lower == email else lower
