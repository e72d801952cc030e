"""Whatever order writes, materializations and looks come in: every change is asked for, and none twice."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cio_assets.automation.source_changes import Look, Memory

STEPS = st.lists(
    st.sampled_from(["write", "write unmarked", "undo", "materialize", "rebuild", "look"]), min_size=1, max_size=30
)


class World:
    """A source and its sensor. `rows` is what the source holds, `mark` what its watermark tells of that."""

    def __init__(self, *, marked: bool, tracked: bool) -> None:
        self.marked, self.tracked = marked, tracked
        self.rows, self.mark, self.versions = 0, 0, 0
        self.event: int | None = None
        self.memory = Memory()
        self.asked: list[tuple[str, int]] = []
        self.contents_read = 0

    def do(self, step: str) -> None:
        if step in ("write", "write unmarked", "rebuild"):
            self.versions += 1
            self.rows = self.versions
        if step in ("write", "rebuild"):
            self.mark = self.versions
        if step == "undo":
            self.rows = self.mark = 0
        if self.tracked and step in ("materialize", "rebuild"):
            self.event = (self.event or 0) + 1
        if step == "look":
            self.look()

    def look(self) -> bool:
        watermark = f"mark {self.mark}" if self.marked else None
        content = None
        if self.memory.wants_content(watermark, self.event, tracked=self.tracked):
            content = f"rows {self.rows}"
            self.contents_read += 1
        look = Look(watermark, content, self.event)
        if not self.memory.differs(look):
            self.memory = Memory.read(self.memory.seen(look).written())
            return False
        self.memory = Memory.read(self.memory.changed(look, 1000.0).written())
        self.asked.append((self.memory.run_key("persons"), self.rows))
        return True


@given(steps=STEPS, marked=st.booleans(), tracked=st.booleans())
def test_no_look_asks_twice_and_no_key_comes_again(steps: list[str], marked: bool, tracked: bool) -> None:
    world = World(marked=marked, tracked=tracked)
    for step in steps:
        world.do(step)
        if step == "look":
            assert not world.look()
    pushed = [rows for _, rows in world.asked]
    assert all(before != after for before, after in pairwise(pushed))
    assert len({key for key, _ in world.asked}) == len(world.asked)


@given(steps=STEPS, marked=st.booleans())
def test_after_a_materialization_every_row_is_asked_for(steps: list[str], marked: bool) -> None:
    world = World(marked=marked, tracked=True)
    for step in steps:
        world.do(step)
    world.do("materialize")
    world.look()
    assert world.asked[-1][1] == world.rows


@given(steps=STEPS)
def test_without_a_watermark_every_look_knows_all_rows(steps: list[str]) -> None:
    world = World(marked=False, tracked=False)
    for step in steps:
        world.do(step)
    world.look()
    assert world.asked[-1][1] == world.rows


@given(steps=STEPS)
def test_with_a_watermark_and_no_asset_the_rows_are_never_read(steps: list[str]) -> None:
    world = World(marked=True, tracked=False)
    for step in steps:
        world.do(step)
    assert world.contents_read == 0


def test_the_cursor_survives_being_written() -> None:
    memory = Memory(5, 6, 7, 8.5, Look("a", "b", 9, "c"))
    assert Memory.read(memory.written()) == memory
