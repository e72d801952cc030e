"""The four ways the App API cuts a list into pages (section 3 of customerio-api.md), as pure decisions."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from .errors import AnswerInvalid

Items = str | Callable[[dict[str, Any]], list[Any] | None]


class Paging(Enum):
    """How a list says where it goes on. The parameters are query parameters, of POST reads too."""

    NONE = "none"  # the whole list in one answer
    CURSOR = "cursor"  # `start` <- `next`; only an empty `next` ends the list, an empty page does not
    CURSOR_STOP_ON_EMPTY = "cursor_stop_on_empty"  # activities: an empty page ends it as well
    OFFSET = "offset"  # `limit` + `offset`; a page shorter than `limit` is the last
    PAGE = "page"  # `page` (from 1) + `limit`; the answer's `meta.pagination.total` counts the items


def next_params(
    paging: Paging, params: Mapping[str, Any], answer_items_count: int, body: Mapping[str, Any]
) -> dict[str, Any] | None:
    """All query parameters of the page after the one that `params` asked for; None when the list has ended.

    `answer_items_count` is the number of items in the answer `body`. Raises AnswerInvalid for an answer that would
    make the walk endless or lose rows, ValueError if OFFSET is used without a `limit`. Pure.
    """
    match paging:
        case Paging.NONE:
            return None
        case Paging.CURSOR:
            return _after_cursor(params, body)
        case Paging.CURSOR_STOP_ON_EMPTY:
            return _after_cursor(params, body) if answer_items_count else None
        case Paging.OFFSET:
            return _after_offset(params, answer_items_count)
        case Paging.PAGE:
            return _after_page(params, answer_items_count, body)


def items_of(body: Any, items: Items) -> list[Any]:
    """The rows of an answer: under the envelope key `items` (dots go deeper), or what the callable finds.

    null is an empty list (observed: identifiers, messages, suppressions). Raises AnswerInvalid naming the envelope if
    it is missing or is not a list.
    """
    if not isinstance(body, dict):
        raise AnswerInvalid(f"the answer is {_kind(body)}, not an object")
    if isinstance(items, str):
        found = _under(body, items)
    else:
        try:
            found = items(body)
        except (LookupError, TypeError, AttributeError, ValueError):
            raise AnswerInvalid(f"the answer has not the documented shape; it has {_keys(body)}") from None
    if found is None:
        return []
    if not isinstance(found, list):
        name = f"'{items}'" if isinstance(items, str) else "the envelope"
        raise AnswerInvalid(f"{name} of the answer is {_kind(found)}, not a list")
    return found


def _under(body: dict[str, Any], envelope: str) -> Any:
    value: Any = body
    for key in envelope.split("."):
        if value is None:
            return None
        if not isinstance(value, dict) or key not in value:
            raise AnswerInvalid(f"the answer has no '{envelope}'; it has {_keys(body)}")
        value = value[key]
    return value


def _after_cursor(params: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any] | None:
    cursor = body.get("next")
    if not cursor:  # absent, null, "" or 0
        return None
    if isinstance(cursor, bool) or not isinstance(cursor, (str, int)):
        raise AnswerInvalid(f"'next' of the answer is {_kind(cursor)}, not a cursor")
    if str(cursor) == str(params.get("start", "")):
        raise AnswerInvalid("the answer's 'next' points at its own page: the list would never end")
    return {**params, "start": cursor}


def _after_offset(params: Mapping[str, Any], count: int) -> dict[str, Any] | None:
    limit = int(params.get("limit") or 0)
    if limit < 1:
        raise ValueError("paging by offset needs a 'limit' in the query")
    if count < limit:
        return None
    return {**params, "offset": int(params.get("offset") or 0) + count}


def _after_page(params: Mapping[str, Any], count: int, body: Mapping[str, Any]) -> dict[str, Any] | None:
    page = int(params.get("page") or 1)
    try:
        pagination = body["meta"]["pagination"]
        total = int(pagination["total"])
        # The service may cut the limit that was asked for: its own figure counts.
        limit = int(pagination.get("limit") or params.get("limit") or count)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AnswerInvalid("the answer has no 'meta.pagination.total'") from None
    if page * limit >= total:
        return None
    if not count:
        raise AnswerInvalid(f"page {page} is empty although {total} items are announced")
    return {**params, "page": page + 1}


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _keys(body: Mapping[str, Any]) -> str:
    # Field names of the top level are the API's own; still, no more than a few and only plain ones.
    names = [key for key in body if key.replace("_", "").isalpha()][:8]
    return "only " + ", ".join(names) if names else "no field by a plain name"
