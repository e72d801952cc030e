"""Every row once and in order, however a list is cut into pages; and no walk without an end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets.customerio import AnswerInvalid, Paging, next_params
from cio_assets.customerio.paging import items_of

pages_of_rows = st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=12)


def walk(paging: Paging, params: dict[str, Any], ask: Any, most: int = 100) -> list[Any]:
    rows: list[Any] = []
    current: dict[str, Any] | None = params
    for _ in range(most):
        body = ask(current)
        found = items_of(body, "rows")
        rows += found
        current = next_params(paging, current or {}, len(found), body)
        if current is None:
            return rows
    raise AssertionError("the walk does not end")


@given(pages_of_rows, st.sampled_from(["", None, "absent", 0]), st.booleans())
def test_cursor_reads_every_page_even_past_empty_ones(pages: list[list[int]], last: Any, numbers: bool) -> None:
    def ask(params: dict[str, Any]) -> dict[str, Any]:
        assert params["limit"] == 50
        at = int(str(params.get("start", "c0")).removeprefix("c"))
        body: dict[str, Any] = {"rows": pages[at] or None}
        if at + 1 < len(pages):
            body["next"] = at + 1 if numbers else f"c{at + 1}"
        elif last != "absent":
            body["next"] = last
        return body

    assert walk(Paging.CURSOR, {"limit": 50}, ask) == [row for page in pages for row in page]


@given(pages_of_rows)
def test_cursor_stop_on_empty_ends_at_the_first_empty_page(pages: list[list[int]]) -> None:
    def ask(params: dict[str, Any]) -> dict[str, Any]:
        at = int(params.get("start", 0))
        return {"rows": pages[at] if at < len(pages) else [], "next": at + 1}

    expected: list[int] = []
    for page in pages:
        if not page:
            break
        expected += page
    assert walk(Paging.CURSOR_STOP_ON_EMPTY, {}, ask) == expected


@given(st.integers(0, 60), st.integers(1, 20))
def test_offset_and_page_read_every_row_once(total: int, limit: int) -> None:
    rows = list(range(total))

    def by_offset(params: dict[str, Any]) -> dict[str, Any]:
        start = params.get("offset", 0)
        return {"rows": rows[start : start + params["limit"]] or None}

    def by_page(params: dict[str, Any]) -> dict[str, Any]:
        page, size = params.get("page", 1), min(params["limit"], 7)  # a server that cuts the limit
        meta = {"pagination": {"page": page, "limit": size, "total": total}}
        return {"rows": rows[(page - 1) * size : page * size], "meta": meta}

    assert walk(Paging.OFFSET, {"limit": limit}, by_offset) == rows
    assert walk(Paging.PAGE, {"limit": limit}, by_page) == rows


def test_all_other_parameters_stay_and_the_old_ones_are_not_changed() -> None:
    params = {"limit": 1000, "start_ts": 5}
    assert next_params(Paging.CURSOR, params, 0, {"next": "b"}) == {"limit": 1000, "start_ts": 5, "start": "b"}
    assert next_params(Paging.NONE, params, 9, {"next": "b"}) is None
    assert params == {"limit": 1000, "start_ts": 5}


@pytest.mark.parametrize(
    ("paging", "params", "count", "body"),
    [
        (Paging.CURSOR, {"start": "a"}, 1, {"next": "a"}),
        (Paging.CURSOR, {"start": "7"}, 1, {"next": 7}),
        (Paging.CURSOR, {}, 1, {"next": {"at": 1}}),
        (Paging.CURSOR, {}, 1, {"next": True}),
        (Paging.PAGE, {"limit": 5}, 1, {}),
        (Paging.PAGE, {"limit": 5}, 1, {"meta": None}),
        (Paging.PAGE, {"limit": 5, "page": 2}, 0, {"meta": {"pagination": {"total": 50}}}),
    ],
)
def test_an_answer_that_would_loop_or_lose_rows_is_invalid(
    paging: Paging, params: dict[str, Any], count: int, body: dict[str, Any]
) -> None:
    with pytest.raises(AnswerInvalid):
        next_params(paging, params, count, body)


def test_offset_without_limit_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="limit"):
        next_params(Paging.OFFSET, {}, 1, {})


def test_envelopes() -> None:
    body = {"a": {"b": [1]}, "nothing": None, "text": "x"}
    assert items_of(body, "a.b") == [1]
    assert items_of(body, "nothing") == items_of(body, "nothing.deeper") == []
    assert items_of(body, lambda found: found["a"]["b"]) == [1]
    assert items_of(body, lambda _: None) == []
    with pytest.raises(AnswerInvalid, match="'messages'; it has only a, nothing, text"):
        items_of(body, "messages")
    with pytest.raises(AnswerInvalid, match=r"'a\.c'"):
        items_of(body, "a.c")
    with pytest.raises(AnswerInvalid, match="'text' of the answer is a text, not a list"):
        items_of(body, "text")
    with pytest.raises(AnswerInvalid, match="documented shape"):
        items_of(body, lambda found: found["missing"])
    with pytest.raises(AnswerInvalid, match="is a list, not an object"):
        items_of([1], "a")
