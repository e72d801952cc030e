"""Which request goes wrong and how: random rates from a seeded generator, and rules by method and path."""

import random
import re
from dataclasses import dataclass, field
from typing import Any

STATUSES = {
    "401": "unauthorized",
    "403": "forbidden",
    "404": "not found",
    "429": "rate limited to 10 requests per 1s",
    "429-bare": "quota exceeded",
    "500": "internal error",
    "502": "bad gateway",
    "503": "unavailable",
}
# `reset` drops the connection before the request is processed, `lost` after it was.
OTHERS = ("reset", "lost", "truncated", "truncated-length", "truncated-json", "html", "stall", "vanish")
# These only fall on a Track batch that would be answered with 207.
LATE = ("bare207", "batch400")
# These only fall on requests that a side names: pages after the first, and what starts an export, which then fails.
SPECIAL = frozenset(("overlap", "stale-cursor", "export_failed"))
KINDS = frozenset(STATUSES) | frozenset(OTHERS) | frozenset(LATE) | SPECIAL


@dataclass
class Rule:
    """A fault for the requests that match; `times` None = for ever, `after` = so many matches are spared first."""

    kind: str
    method: str | None = None
    path: str = ""
    times: int | None = None
    after: int = 0
    matched: int = field(default=0)

    def hits(self, method: str, raw_path: str) -> bool:
        """Tell whether this request gets the fault, counting it if it matches."""
        if (self.method and self.method != method) or not re.search(self.path, raw_path):
            return False
        self.matched += 1
        turn = self.matched - self.after
        return turn > 0 and (self.times is None or turn <= self.times)


class Faults:
    """The current fault plan."""

    def __init__(self, text: str = "") -> None:
        pairs = dict(part.split("=", 1) for part in text.split(",") if part.strip())
        settings = {name.strip(): float(value) for name, value in pairs.items()}
        seed, stall = int(settings.pop("seed", 1)), settings.pop("stall_seconds", 5.0)
        self.replace({"rates": settings, "seed": seed, "stall_seconds": stall})

    def replace(self, plan: dict[str, Any]) -> None:
        """Put a new plan in force; ValueError where it is not understood, and then the old one stays."""
        rates = {str(kind): float(rate) for kind, rate in (plan.get("rates") or {}).items()}
        rules = [Rule(**rule) for rule in plan.get("rules") or ()]
        if unknown := {*rates, *(rule.kind for rule in rules)} - KINDS:
            raise ValueError(f"unknown fault kinds {sorted(unknown)}")
        for rule in rules:
            re.compile(rule.path)
        self.rates, self.rules = rates, rules
        self.seed = int(plan.get("seed", 1))
        self.stall_seconds = float(plan.get("stall_seconds", 5))
        self._random = random.Random(self.seed)

    def pick(self, method: str, raw_path: str, special: frozenset[str]) -> str | None:
        """Choose the fault of one request, None for none; `special` are those that not every request can have."""
        out = (SPECIAL - special).union(LATE)
        rules = [rule for rule in self.rules if rule.kind not in out]
        hits = [rule.kind for rule in rules if rule.hits(method, raw_path)]
        draw = self._random.random()
        if hits:
            return hits[0]
        for kind in sorted(set(self.rates) - set(LATE)):
            draw -= self.rates[kind]
            if draw < 0:
                return None if kind in out else kind
        return None

    def pick_late(self, method: str, raw_path: str) -> str | None:
        """Choose the fault of a batch that is about to be answered with 207, None for none."""
        hits = [rule.kind for rule in self.rules if rule.kind in LATE and rule.hits(method, raw_path)]
        if hits:
            return hits[0]
        return next((kind for kind in LATE if kind in self.rates and self.chance(self.rates[kind])), None)

    def chance(self, share: float) -> bool:
        """Toss a coin from the plan's generator."""
        return self._random.random() < share

    def as_dict(self) -> dict[str, Any]:
        """Return the plan in the form in which it is set."""
        rules = [{name: value for name, value in vars(rule).items() if name != "matched"} for rule in self.rules]
        return {"rates": self.rates, "rules": rules, "seed": self.seed, "stall_seconds": self.stall_seconds}
