"""The users' own syncs, from the YAML file that CIO_SYNCS names; each fault is a sentence with file, line, sync, field.

It knows YAML and the fields of a sync, and nothing of a warehouse. `python -m cio_assets.reverse_etl.syncs_file` prints
an example and the table of fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import ValidationError

from cio_assets.reverse_etl.model import BUILT_IN, IDENTIFIERS, Gone, Kind, Mode, Sync
from cio_assets.settings import SettingsError

RESERVED = frozenset({"all", "rejected", "state"})
"""Names that no sync may have: `all` of them, and the tables that stand beside the sources."""

EXAMPLE = """\
syncs:
  persons:                          # the built-in sync of that name, with another mode
    mode: mirror
  vip:                              # one of your own
    kind: persons
    source: marts.vip_people        # schema.table of the warehouse
    identifiers: [email]            # or {email: mail_address}, where the column has another name
    mode: mirror
    gone: unset
"""

_FIELDS = tuple(name for name in Sync.model_fields if name != "name")
_BUILT_IN: Mapping[str, Sync] = {sync.name: sync for sync in BUILT_IN}
_LARGEST = 1 << 20  # bytes; who names a data file by mistake is told so at once
_DEEPEST_MERGE = 20
_MERGE_TAG = "tag:yaml.org,2002:merge"
_NULL_TAG = "tag:yaml.org,2002:null"

_Pair = tuple[yaml.ScalarNode, yaml.Node]


class _Wrong(Exception):
    """The value has a fault that has been noted."""


def load_syncs(path: Path | None) -> tuple[Sync, ...]:
    """The built-in syncs, as the file changes them, and then the file's own in its order.

    Raises `SettingsError` with one sentence for each fault of the file.
    """
    return BUILT_IN if path is None else tuple({**_BUILT_IN, **_Reader(path).syncs()}.values())


class _Reader:
    """Reads one file and notes its faults, each with its line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._faults: dict[tuple[int, str], None] = {}  # as a set that keeps its order: an alias is read repeatedly

    def syncs(self) -> dict[str, Sync]:
        root = self._parsed()
        found: dict[str, Sync] = {}
        if root is not None and not _is_null(root):
            top = self._pairs(root, "the file")
            for name, (key, _) in top.items():
                if name != "syncs":
                    hint = _hint(name, ["syncs"]) or "its one key is syncs, with the names of syncs below it"
                    self._note(key, f"{name} cannot stand at the top of the file: {hint}")
            if "syncs" in top and not _is_null(top["syncs"][1]):
                for name, (key, value) in self._pairs(top["syncs"][1], "syncs").items():
                    sync = self._sync(name, key, value)
                    found |= {name: sync} if sync else {}
        if self._faults:
            faults = sorted(self._faults, key=lambda fault: fault[0])
            raise SettingsError(
                "\n".join(f"{self._path} line {line}: {text}".rstrip(".") + "." for line, text in faults)
            )
        return found

    def _parsed(self) -> yaml.Node | None:
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            raise SettingsError(f"CIO_SYNCS: {self._path} cannot be read ({error.strerror}).") from None
        if len(content) > _LARGEST:
            raise SettingsError(f"CIO_SYNCS: {self._path} is larger than 1 MB, which is no file of syncs.")
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise SettingsError(f"{self._path} line {line}: this is not UTF-8 text: save the file as such.") from None
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError) as error:
            line, problem = _syntax(error, text)
            raise SettingsError(f"{self._path} line {line}: {problem}.") from None

    def _note(self, node: yaml.Node, text: str) -> None:
        self._faults[node.start_mark.line + 1, text] = None

    def _pairs(self, node: yaml.Node, what: str, depth: int = 0) -> dict[str, _Pair]:
        """The keys of a mapping with their values, merge keys (`<<`) resolved; PyYAML would let the last of two win."""
        if not isinstance(node, yaml.MappingNode) or depth > _DEEPEST_MERGE:
            self._note(node, f"{what} must be a mapping (lines of the form `name: value`), not {_shape(node)}")
            return {}
        own: dict[str, _Pair] = {}
        merged: dict[str, _Pair] = {}
        for key, value in node.value:
            if key.tag == _MERGE_TAG:
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    merged = self._pairs(each, f"what << takes into {what}", depth + 1) | merged
            elif not isinstance(key, yaml.ScalarNode):
                self._note(key, f"{what}: a key must be a name, not {_shape(key)}")
            elif key.value in own:
                first = own[key.value][0].start_mark.line + 1
                self._note(key, f"{what}: {key.value} is there twice (first in line {first}): keep one of them")
            else:
                own[key.value] = (key, value)
        return merged | own

    def _sync(self, name: str, key: yaml.Node, node: yaml.Node) -> Sync | None:
        what = f"sync {name}"
        before = len(self._faults)
        self._check_name(name, key, what)
        if not isinstance(node, yaml.MappingNode) and not _is_null(node):
            self._pairs(node, what)  # says so
            return None
        given = {} if _is_null(node) else self._pairs(node, what)
        values = (_given_fields(_BUILT_IN[name]) if name in _BUILT_IN else {}) | self._values(given, what)
        self._check_required(name, key, given, values)
        already = len(self._faults) > before
        try:
            return Sync.model_validate({**values, "name": name})
        except ValidationError as error:
            found = list(_explain(error, what, key, given, values))
            for place, text, follows in found:
                if not (already and follows):
                    self._note(place, text)
            if not found and not already:
                self._note(key, f"{what}: {error.errors()[0]['msg']}")
        return None

    def _values(self, given: Mapping[str, _Pair], what: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for field, (key, value) in given.items():
            if field not in _FIELDS:
                hint = _hint(field, _FIELDS) or f"the fields are {', '.join(_FIELDS)}"
                self._note(key, f"{what}: there is no field {field}: {hint}")
                continue
            with suppress(_Wrong):
                values[field] = self._value(value, field, f"{what}, {field}")
        return values

    def _check_required(self, name: str, key: yaml.Node, given: Mapping[str, _Pair], values: Mapping[str, Any]) -> None:
        if name in _BUILT_IN and values["kind"] not in (None, _BUILT_IN[name].kind):
            kept = f"the built-in sync {name} keeps its kind ({_BUILT_IN[name].kind})"
            self._note(given["kind"][1], f"sync {name}, kind: {kept}: give a sync of another kind another name")
        for field in ("kind", "source"):
            if values.get(field) is None and (field not in given or _is_null(given[field][1])):
                self._note(key, f"sync {name}: {field} is missing: {self._example(name, field)}")

    def _check_name(self, name: str, key: yaml.Node, what: str) -> None:
        pattern = r"[a-z][a-z0-9_]{0,47}"
        if not re.fullmatch(pattern, name, re.ASCII):
            better = re.sub(r"\W", "_", name.strip().lower(), flags=re.ASCII)
            hint = f": write {better}" if re.fullmatch(pattern, better, re.ASCII) else ""
            rule = "a name is 1 to 48 lower-case letters, digits and _, and begins with a letter"
            self._note(key, f"{what}: {rule}{hint}")
        elif name in RESERVED:
            self._note(key, f"{what}: this name is taken by cio-assets itself: give it another")

    @staticmethod
    def _example(name: str, field: str) -> str:
        meant = get_close_matches(name, _BUILT_IN, n=1, cutoff=0.75)
        built_in = f" (or is the built-in sync {meant[0]} meant)" if meant else ""
        if field == "kind":
            return f"give {_listed(_choices(Kind))}{built_in}"
        return f"give schema.table of the warehouse, such as source: marts.{name}{built_in}"

    def _value(self, node: yaml.Node, field: str, what: str) -> Any:
        """What the field is given, as Python knows it. Raises _Wrong for a value of another form."""
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self._note(node, f"{what}: the tag {node.tag} means nothing here: leave it out")
            raise _Wrong
        if _is_null(node):
            return None
        if field == "identifiers" and isinstance(node, yaml.MappingNode):
            return {name: self._text(value, f"{what}: {name}") for name, (_, value) in self._pairs(node, what).items()}
        if field in ("identifiers", "columns"):
            if isinstance(node, yaml.SequenceNode):
                return self._texts(node, what)
            forms = " or a mapping such as {email: mail_address}" if field == "identifiers" else ""
            self._note(node, f"{what}: give a list such as [email, plan]{forms}, not {_shape(node)}")
            raise _Wrong
        if field == "description" and isinstance(node, yaml.ScalarNode):
            return node.value
        text = self._text(node, what)
        return text.lower() if field == "allow_empty" else text

    def _text(self, node: yaml.Node, what: str) -> str:
        """The literal text, so that `on`, `null` or `2026` may be a column's name wherever quotes are forgotten."""
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self._note(node, f"{what}: give one value, not {_shape(node)}")
            raise _Wrong
        return node.value.strip()

    def _texts(self, node: yaml.SequenceNode, what: str) -> tuple[str, ...]:
        texts: dict[str, None] = {}
        for each in node.value:
            text = self._text(each, what)
            if text in texts:
                self._note(each, f"{what}: {text} is listed twice")
            texts[text] = None
        return tuple(texts)


def _explain(
    error: ValidationError, what: str, key: yaml.Node, given: Mapping[str, _Pair], values: Mapping[str, Any]
) -> Iterator[tuple[yaml.Node, str, bool]]:
    """What pydantic found, in our words: where, what, and whether another fault of the sync may be the cause of it."""
    problems = error.errors(include_url=False, include_context=False)
    wrong = {str(problem["loc"][0]) for problem in problems if problem["loc"]}
    for problem in problems:
        message = str(problem["msg"]).removeprefix("Value error, ")
        if not problem["loc"]:  # fields that do not go together: the message begins with the one to change
            yield given.get(message.partition(" ")[0], (key, key))[1], f"{what}: {message}", True
            continue
        field = str(problem["loc"][0])
        if field in given and not (field == "identifiers" and "kind" in wrong):
            better = _better(message, str(problem["type"]), field, values)
            yield given[field][1], f"{what}, {field}: {better}", problem["type"] == "missing"


def _syntax(error: yaml.YAMLError | RecursionError, text: str) -> tuple[int, str]:
    """Line and words for what is no YAML."""
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1, "a character that no text holds: remove it"
    if not isinstance(error, yaml.MarkedYAMLError):
        return 1, "this is nested too deeply"
    problem = error.problem or "it cannot be read"
    at_the_end = "end of stream" in problem or "stream end" in problem  # say where it began, not where the file ends
    mark = (error.context_mark if at_the_end else None) or error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    if "'\\t'" in problem:
        return line, "a tab stands where YAML wants spaces: indent with spaces"
    if "another document" in problem:
        return line, "a second document begins (---): a file of syncs has one"
    return line, f"this is no YAML ({problem})"


def _better(message: str, kind: str, field: str, values: Mapping[str, Any]) -> str:
    if kind in ("enum", "literal_error"):
        every = _choices(Sync.model_fields[field].annotation)
        fitting = [choice for choice in every if _is_valid({**values, field: choice})]
        meant = get_close_matches(str(values[field]).lower(), every, n=1)
        hint = f" (perhaps {meant[0]})" if meant else ""
        return f"{values[field]} is unknown: use {_listed(fitting if fitting and field != 'kind' else every)}{hint}"
    if kind.startswith("bool"):
        return f"{values[field]} is neither true nor false: write one of them"
    if field == "source":
        return f"{values[field]} is not schema.table: give two names of letters, digits and _, joined by a dot"
    return message


def _is_valid(values: Mapping[str, Any]) -> bool:
    try:
        Sync.model_validate({"name": "sync", **values})
    except ValidationError:
        return False
    return True


def _given_fields(sync: Sync) -> dict[str, Any]:
    """The fields of a built-in sync that do not follow from its kind: another mode brings another `gone` with it."""
    plain = Sync(name=sync.name, kind=sync.kind, source=sync.source)
    differing = {name: getattr(sync, name) for name in _FIELDS if getattr(sync, name) != getattr(plain, name)}
    return {"kind": sync.kind, "source": sync.source, **differing}


def _choices(annotation: Any) -> list[str]:
    """The values that an enumeration, a Literal, or either of them `| None` allows."""
    if isinstance(annotation, type):
        return [each.value for each in annotation] if issubclass(annotation, StrEnum) else []
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _is_null(node: yaml.Node) -> bool:
    return node.tag == _NULL_TAG


def _shape(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return f"the value {str(node.value)[:60]}" if str(node.value).strip() else "nothing"


def _hint(written: str, known: Iterable[str]) -> str:
    meant = get_close_matches(written.lower(), list(known), n=1)
    return f"perhaps {meant[0]} is meant" if meant else ""


def _listed(choices: list[str]) -> str:
    return " or ".join(part for part in (", ".join(choices[:-1]), choices[-1]) if part)


def table_of_fields() -> str:
    """Markdown: every field of a sync, for the README."""
    defaults = dict.fromkeys(("kind", "source"), "required") | dict.fromkeys(("mode", "identifiers"), "by kind")
    defaults |= {"gone": "`delete` under `mirror`, else `ignore`", "columns": "all"}
    lines = ["| field | meaning | values | default |", "| --- | --- | --- | --- |"]
    for name in _FIELDS:
        field = Sync.model_fields[name]
        values = ", ".join(f"`{choice}`" for choice in _choices(field.annotation))
        usual = {None: "", "": "", False: "`false`"}.get(field.default, f"`{field.default}`")
        lines.append(f"| `{name}` | {field.description} | {values} | {defaults.get(name, usual)} |")
    return "\n".join(lines)


def table_of_kinds() -> str:
    """Markdown: which modes, `gone` and identifiers each kind of sync may have; the usual one comes first."""
    lines = ["| kind | mode | gone | identifiers (column) |", "| --- | --- | --- | --- |"]
    for kind in Kind:
        base = {"kind": kind, "source": "a.b"}
        usual = Sync.model_validate({"name": "sync", **base})
        modes = [mode for mode in Mode if _is_valid({**base, "mode": mode})]
        gone = [each for each in Gone if any(_is_valid({**base, "mode": mode, "gone": each}) for mode in modes)]
        cells = [", ".join(f"`{each}`" for each in sorted(modes, key=lambda mode: mode is not usual.mode))]
        cells.append(", ".join(f"`{each}`" for each in sorted(gone, key=lambda each: each is not usual.gone)))
        cells.append(
            ", ".join(f"`{name}` (`{column}`)" for name, column in IDENTIFIERS[kind].items()) or "fixed columns"
        )
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(f"```yaml\n{EXAMPLE}```\n\n{table_of_fields()}\n\n{table_of_kinds()}")
