"""What happens to people between two syncs; it leaves the activities that a push of the same would leave."""

from typing import Any

import numpy as np
import orjson

from cio_assets.sandbox.track_merge import merge
from cio_assets.sandbox.track_people import PeopleWriter
from cio_assets.sandbox.world import World

Answer = dict[str, Any]
MADE_BY_SERVICE = ("id", "cio_id")  # and what begins with _: no attribute_change tells of these


class PeopleMutations:
    """Mutations of people; `begin` draws new numbers and reads the clock before each."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.turn = 0
        self._writer = PeopleWriter(world, lambda *_: None)  # nobody here was anonymous

    def begin(self) -> None:
        """Begin the next mutation."""
        self.turn += 1
        self.rng = np.random.default_rng([self.world.options.seed, 99, self.turn])
        self.now = self.world.clock.now()

    def _some(self, numbers: np.ndarray, count: int) -> np.ndarray:
        return np.sort(self.rng.choice(numbers, min(count, len(numbers)), replace=False))

    def _living(self, count: int) -> list[int]:
        return self._some(self.world.people.living(), count).tolist()

    def _cio_ids(self, numbers: Any) -> list[str]:
        return [self.world.people.cio_ids[int(number)] for number in numbers]

    def _set(self, number: int, values: dict[str, Any]) -> None:
        self._writer.identify("cio_id", self.world.people.cio_ids[number], values, orjson.dumps(values), self.now)

    def change_people(self, count: int) -> Answer:
        """Some people get other attributes."""
        numbers = self._living(count)
        for number in numbers:
            self._set(number, {"plan": f"plan-{self.turn}", "visits": str(number)})
        return {"ids": self._cio_ids(numbers)}

    def change_identifiers(self, count: int) -> Answer:
        """Some people get another email."""
        numbers = self._living(count)
        for number in numbers:
            self._set(number, {"email": f"moved{self.turn}+{number}@example.com"})
        return {"ids": self._cio_ids(numbers)}

    def change_devices(self, count: int) -> Answer:
        """Every second one of some people loses a device, if there is one; the others get one more."""
        people, numbers = self.world.people, self._living(count)
        for place, number in enumerate(numbers):
            who, devices = ("cio_id", people.cio_ids[number]), people.devices_of(number)
            if place % 2 and devices:
                self._writer.delete_device(*who, devices[0]["id"], self.now)
            else:
                device = {"token": f"{self.turn:04x}{number:08x}:APA91c", "platform": "android"}
                self._writer.add_device(*who, device, self.now)
        return {"ids": self._cio_ids(numbers)}

    def add_people(self, count: int) -> Answer:
        """New people arrive."""
        people = self.world.people
        numbers = people.add(count, self.now).tolist()
        for number in numbers:
            first = {
                name: value
                for name, value in people.attributes(number).items()
                if value != "" and name[0] != "_" and name not in MADE_BY_SERVICE
            }
            self._writer.arrive(number, orjson.dumps(first), self.now, self.now)
        return {"ids": self._cio_ids(numbers)}

    def delete_people(self, count: int) -> Answer:
        """Some people are deleted."""
        ids = self._cio_ids(self._living(count))
        for cio_id in ids:
            self._writer.delete("cio_id", cio_id, self.now)
        return {"ids": ids}

    def merge_people(self, count: int) -> Answer:
        """Some people take over another one each, who is no more; `merged` are those, in the order of `ids`."""
        numbers = self.rng.permutation(self._living(2 * count)).tolist()
        pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
        for primary, secondary in pairs:
            merge(self.world, primary, secondary, self.now)
        remain, gone = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return {"ids": self._cio_ids(remain), "merged": self._cio_ids(gone)}
