"""The users' own syncs: what a file may say, and the sentence for each thing that it may not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cio_assets.reverse_etl import syncs_file
from cio_assets.reverse_etl.model import BUILT_IN, Gone, Kind, Mode, Sync
from cio_assets.reverse_etl.syncs_file import EXAMPLE, RESERVED, load_syncs, table_of_fields, table_of_kinds
from cio_assets.settings import SettingsError
from cio_assets_tests.warehouse.stage import python


def _load(folder: Path, text: str | bytes) -> dict[str, Sync]:
    path = folder / "syncs.yaml"
    path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    return {sync.name: sync for sync in load_syncs(path)}


def _faults(folder: Path, text: str | bytes) -> list[str]:
    """The sentences, without the path that each begins with."""
    with pytest.raises(SettingsError) as caught:
        _load(folder, text)
    sentences = str(caught.value).splitlines()
    assert all(each.startswith(f"{folder / 'syncs.yaml'} line ") and each.endswith(".") for each in sentences)
    assert "pydantic" not in str(caught.value)
    return [each.removeprefix(f"{folder / 'syncs.yaml'} ") for each in sentences]


def test_without_a_file_there_are_the_built_in_syncs() -> None:
    assert load_syncs(None) == BUILT_IN


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing yet\n", "---\n", "syncs:\n", "syncs: {}\n", "syncs: ~\n", "\ufeff"]
)
def test_an_empty_file_adds_nothing(tmp_path: Path, text: str) -> None:
    assert tuple(_load(tmp_path, text.encode()).values()) == BUILT_IN


def test_a_sync_of_one_s_own_follows_the_built_in_ones(tmp_path: Path) -> None:
    syncs = _load(
        tmp_path,
        """
        syncs:
          vip:
            kind: persons
            source: marts.vip_people
            identifiers: [email, id]
            mode: mirror
            gone: unset
            nulls: unset
            columns: [email, plan]
            allow_empty: yes
            description: |
              Ünsere besten
          calls:
            kind: events
            source: marts.calls
            identifiers: {email: mail_address}
            cursor: loaded_at
            partitions: daily
        """,
    )

    assert list(syncs) == [*(sync.name for sync in BUILT_IN), "vip", "calls"]
    assert syncs["vip"] == Sync(
        name="vip",
        kind=Kind.PERSONS,
        source="marts.vip_people",
        identifiers={"email": "email", "id": "id"},
        mode=Mode.MIRROR,
        gone=Gone.UNSET,
        nulls="unset",
        columns=("email", "plan"),
        allow_empty=True,
        description="Ünsere besten",
    )
    assert syncs["calls"].identifiers == {"email": "mail_address"}
    assert (syncs["calls"].mode, syncs["calls"].cursor, syncs["calls"].partitions) == ("append", "loaded_at", "daily")


def test_the_order_of_identifiers_is_kept(tmp_path: Path) -> None:
    syncs = _load(tmp_path, "syncs: {vip: {kind: persons, source: a.b, identifiers: [phone, id, email]}}")

    assert list(syncs["vip"].identifiers) == ["phone", "id", "email"]


def test_an_entry_named_like_a_built_in_sync_changes_only_what_it_says(tmp_path: Path) -> None:
    syncs = _load(
        tmp_path, "syncs: {persons: {mode: mirror}, events: {source: marts.events, partitions: null}, merges: }"
    )
    before = {sync.name: sync for sync in BUILT_IN}

    assert list(syncs) == list(before)
    assert syncs["persons"] == before["persons"].model_copy(update={"mode": Mode.MIRROR, "gone": Gone.DELETE})
    assert syncs["events"] == before["events"].model_copy(update={"source": "marts.events", "partitions": None})
    assert syncs["merges"] == before["merges"]


def test_two_syncs_may_share_a_source(tmp_path: Path) -> None:
    syncs = _load(tmp_path, "syncs: {a: {kind: persons, source: m.p}, b: {kind: devices, source: m.p}}")

    assert syncs["a"].source == syncs["b"].source


def test_anchors_aliases_and_merge_keys_are_understood(tmp_path: Path) -> None:
    syncs = _load(
        tmp_path,
        """
        syncs:
          one: &common
            kind: persons
            source: marts.one
            identifiers: &mail [email]
            mode: mirror
          two: *common
          three:
            <<: *common
            source: marts.three
          four: {kind: events, source: marts.four, identifiers: *mail}
        """,
    )

    assert syncs["two"] == syncs["one"].model_copy(update={"name": "two"})
    assert syncs["three"] == syncs["one"].model_copy(update={"name": "three", "source": "marts.three"})
    assert list(syncs["four"].identifiers) == ["email"]


def test_words_that_yaml_reads_as_something_else_are_names_here(tmp_path: Path) -> None:
    syncs = _load(
        tmp_path, "syncs: {on: {kind: objects, source: no.off, columns: [null, yes, 2026, 1.0], cursor: 12_3}}"
    )

    assert syncs["on"].source == "no.off"
    assert syncs["on"].columns == ("null", "yes", "2026", "1.0")
    assert syncs["on"].cursor == "12_3"


WRONG = [
    # text, line, what the sentence holds
    (
        "syncs: {vip: {kind: person, source: a.b}}",
        1,
        ["sync vip, kind: person is unknown", "perhaps persons", "merges"],
    ),
    ("syncs:\n  vip:\n    source: a.b\n", 2, ["sync vip: kind is missing", "give persons, events"]),
    ("syncs:\n  vip:\n    kind: persons\n", 2, ["sync vip: source is missing", "source: marts.vip"]),
    ("syncs:\n  person:\n    source: a.b\n", 2, ["built-in sync persons"]),
    ("syncs:\n  persons:\n    moed: mirror\n", 3, ["sync persons: there is no field moed", "perhaps mode"]),
    ("syncs:\n  persons:\n    zzz: 1\n", 3, ["no field zzz", "the fields are kind, source"]),
    ("syncs:\n  persons:\n    mode: Mirror\n", 3, ["Mirror is unknown", "perhaps mirror"]),
    ("syncs:\n  events:\n    mode: bulk\n", 3, ["sync events, mode: bulk is unknown: use append."]),
    ("syncs:\n  events:\n    mode: mirror\n", 3, ["mode mirror does not go with kind events: use append"]),
    ("syncs:\n  objects:\n    mode: update\n", 3, ["mode update is for persons only", "use upsert or mirror"]),
    ("syncs:\n  objects:\n    gone: suppress\n", 3, ["gone suppress", "use ignore, delete, unset"]),
    ("syncs:\n  persons:\n    gone: ignore\n    mode: mirror\n", 4, ["use mode upsert"]),
    ("syncs:\n  persons:\n    partitions: daily\n", 3, ["partitions are for events only"]),
    ("syncs:\n  events:\n    partitions: weekly\n", 3, ["weekly is unknown: use daily"]),
    ("syncs:\n  persons:\n    nulls: keep\n", 3, ["keep is unknown: use omit or unset"]),
    ("syncs:\n  persons:\n    source: people\n", 3, ["people is not schema.table"]),
    ("syncs:\n  persons:\n    source: a.b.c\n", 3, ["a.b.c is not schema.table"]),
    ('syncs:\n  persons:\n    source: a."b"\n', 3, ["is not schema.table"]),
    ("syncs:\n  persons:\n    allow_empty: maybe\n", 3, ["maybe is neither true nor false"]),
    ("syncs:\n  persons:\n    identifiers: [mail]\n", 3, ["mail cannot identify", "use id, email, cio_id, phone"]),
    ("syncs:\n  objects:\n    identifiers: [id]\n", 3, ["id cannot identify", "leave it out"]),
    ("syncs:\n  persons:\n    identifiers: email\n", 3, ["a list such as [email, plan] or a mapping"]),
    ("syncs:\n  persons:\n    identifiers:\n      - email\n      - email\n", 5, ["email is listed twice"]),
    ("syncs:\n  persons:\n    identifiers:\n      email:\n", 4, ["identifiers: email: give one value, not nothing"]),
    ("syncs:\n  persons:\n    identifiers: {email: a, email: b}\n", 3, ["email is there twice"]),
    ("syncs:\n  persons:\n    columns: plan\n", 3, ["columns: give a list", "not the value plan"]),
    ("syncs:\n  persons:\n    columns: {a: b}\n", 3, ["columns: give a list", "not a mapping"]),
    ("syncs:\n  persons:\n    columns: [[a]]\n", 3, ["give one value, not a list"]),
    ("syncs:\n  events:\n    cursor: [a]\n", 3, ["cursor: give one value, not a list"]),
    ("syncs:\n  events:\n    cursor: ''\n", 3, ["cursor: give one value, not nothing"]),
    ("syncs:\n  persons:\n    source: !env X\n", 3, ["the tag !env means nothing here"]),
    ("syncs:\n  persons:\n    description: !!python/object:os.system {}\n", 3, ["give one value, not a mapping"]),
    ("syncs:\n  persons:\n    kind: events\n", 3, ["keeps its kind (persons)"]),
    ("syncs:\n  persons:\n    mode: mirror\n    mode: upsert\n", 4, ["mode is there twice (first in line 3)"]),
    ("syncs:\n  vip: {kind: objects, source: a.b}\n  vip: {kind: events, source: a.b}\n", 3, ["vip is there twice"]),
    ("syncs: {}\nsyncs: {}\n", 2, ["syncs is there twice"]),
    ("syncs:\n  VIP: {kind: objects, source: a.b}\n", 2, ["lower-case", "write vip"]),
    ("syncs:\n  Persons: {mode: mirror, kind: persons, source: a.b}\n", 2, ["write persons"]),
    ("syncs:\n  1st: {kind: objects, source: a.b}\n", 2, ["begins with a letter"]),
    ("syncs:\n  our-vips: {kind: objects, source: a.b}\n", 2, ["write our_vips"]),
    ("syncs:\n  vïp: {kind: objects, source: a.b}\n", 2, ["lower-case letters"]),
    ("syncs:\n  ~: {kind: objects, source: a.b}\n", 2, ["begins with a letter"]),
    (f"syncs:\n  {'x' * 49}: {{kind: objects, source: a.b}}\n", 2, ["1 to 48"]),
    ("syncs:\n  [a]: {kind: objects, source: a.b}\n", 2, ["a key must be a name, not a list"]),
    ("syncs:\n  vip: [kind, persons]\n", 2, ["sync vip must be a mapping", "not a list"]),
    ("syncs:\n  vip: persons\n", 2, ["sync vip must be a mapping", "not the value persons"]),
    ("syncs:\n  - name: vip\n", 2, ["syncs must be a mapping", "not a list"]),
    ("- vip\n", 1, ["the file must be a mapping", "not a list"]),
    ("vip\n", 1, ["the file must be a mapping", "not the value vip"]),
    ("sync:\n  vip: {}\n", 1, ["sync cannot stand at the top", "perhaps syncs"]),
    ("syncs: {}\nvip: {}\n", 2, ["vip cannot stand at the top", "its one key is syncs"]),
    ("syncs:\n  vip: &v {<<: *v, kind: objects, source: a.b}\n", 2, ["what << takes into"]),
    ("syncs:\n  vip: {<<: [1], kind: objects, source: a.b}\n", 2, ["not the value 1"]),
    # no YAML
    ("syncs:\n\tvip:\n", 2, ["a tab stands where YAML wants spaces"]),
    ("syncs:\n  vip:\n  \tkind: persons\n", 3, ["a tab stands where YAML wants spaces"]),
    ("syncs:\n  vip: {kind: persons\n", 2, ["this is no YAML"]),
    ('syncs:\n  vip:\n    source: "a.b\n    mode: mirror\n\n', 3, ["this is no YAML"]),
    ("syncs:\n  vip: *nobody\n", 2, ["this is no YAML", "nobody"]),
    ("syncs: {}\n---\nsyncs: {}\n", 2, ["a second document begins"]),
    ("syncs:\n  vip: kind: persons\n", 2, ["this is no YAML"]),
    ("syncs:\n  vip: \x07\n", 2, ["a character that no text holds"]),
    ("[" * 5000, 1, ["nested too deeply"]),
]


@pytest.mark.parametrize(("text", "line", "holds"), WRONG)
def test_a_fault_is_one_sentence_with_its_line(tmp_path: Path, text: str, line: int, holds: list[str]) -> None:
    (sentence,) = _faults(tmp_path, text.encode())

    assert sentence.startswith(f"line {line}: ")
    assert [part for part in holds if part not in sentence] == []


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_name_is_refused(tmp_path: Path, name: str) -> None:
    (sentence,) = _faults(tmp_path, f"syncs:\n  {name}: {{kind: objects, source: a.b}}\n")

    assert sentence.startswith(f"line 2: sync {name}: this name is taken")


def test_every_fault_is_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    sentences = _faults(
        tmp_path,
        """\
        syncs:
          persons: {mode: all}
          VIP:
            kind: person
            source: marts
            moed: mirror
          calls:
            kind: events
            source: a.b
            mode: mirror
        synks: {}
        """,
    )

    assert [each.split(":")[0] for each in sentences] == [f"line {line}" for line in (2, 3, 4, 5, 6, 10, 11)]


def test_a_fault_is_not_followed_by_what_only_follows_from_it(tmp_path: Path) -> None:
    # With the right mode, `gone: ignore` would be no fault.
    assert len(_faults(tmp_path, "syncs: {vip: {kind: persons, source: a.b, mode: mirror, gone: ignore, x: 1}}")) == 1
    assert len(_faults(tmp_path, "syncs: {vip: {kind: person, source: a.b, identifiers: [email]}}")) == 1


def test_an_alias_s_fault_is_told_for_each_sync_in_the_anchor_s_line(tmp_path: Path) -> None:
    sentences = _faults(tmp_path, "syncs:\n  a: &a\n    kind: objects\n    source: nothing\n  b: *a\n")

    assert [each.partition(",")[0] for each in sentences] == ["line 4: sync a", "line 4: sync b"]


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (sentence,) = _faults(tmp_path, "syncs:\n  vip:\n    description: Grüße\n".encode("latin-1"))

    assert sentence.startswith("line 3: this is not UTF-8 text")
    with pytest.raises(SettingsError, match="not UTF-8"):
        _load(tmp_path, "syncs:\n".encode("utf-16"))


def test_line_ends_of_windows_count_as_lines(tmp_path: Path) -> None:
    (sentence,) = _faults(tmp_path, b"syncs:\r\n  persons:\r\n    mode: all\r\n")

    assert sentence.startswith("line 3: ")


@pytest.mark.parametrize("below", ["nowhere.yaml", "nowhere/syncs.yaml", "."])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, below: str) -> None:
    with pytest.raises(SettingsError, match=r"^CIO_SYNCS: .* cannot be read \(.*\)\.$"):
        load_syncs(tmp_path / below)


def test_a_data_file_is_no_file_of_syncs(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="larger than 1 MB"):
        _load(tmp_path, b"1,2,3\n" * 200_000)


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from cio_assets.reverse_etl.syncs_file import SettingsError, load_syncs
        # as an ordinary user
        try:
            load_syncs(Path(sys.argv[1]))
        except SettingsError as error:
            print(error)
    """
    path = tmp_path / "syncs.yaml"
    path.write_text(EXAMPLE)
    path.chmod(0)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)

    done = python(code, str(path), ordinary_user=True)

    assert done.stdout == f"CIO_SYNCS: {path} cannot be read (Permission denied).\n", done.stderr


_WORDS = [
    "syncs",
    "persons",
    "vip",
    "VIP",
    "kind",
    "mode",
    "identifiers",
    "columns",
    "mirror",
    "a.b",
    "",
    "<<",
    "on",
    "1",
]
_SCALARS = st.sampled_from(_WORDS) | st.none() | st.booleans() | st.integers(-9, 9)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(top=_VALUES, text=st.text(max_size=60), wrap=st.booleans())
@example(top={"vip": {"<<": {"<<": {"kind": "x"}}}}, text="", wrap=True)
def test_any_text_gives_syncs_or_sentences(
    tmp_path_factory: pytest.TempPathFactory, top: object, text: str, wrap: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    for content in (syncs_file.yaml.safe_dump({"syncs": top} if wrap else top), text, f"syncs:\n  {text}"):
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        try:
            syncs, said = load_syncs(path), ""
        except SettingsError as error:
            syncs, said = (), str(error)
        if said:
            assert all(" line " in each and each.endswith(".") for each in said.split("\n"))
        else:
            assert [sync.name for sync in syncs[: len(BUILT_IN)]] == [sync.name for sync in BUILT_IN]


def test_the_example_is_valid(tmp_path: Path) -> None:
    syncs = _load(tmp_path, EXAMPLE)

    assert (syncs["persons"].mode, syncs["persons"].gone) == ("mirror", "delete")
    assert (syncs["vip"].source, syncs["vip"].gone, list(syncs["vip"].identifiers)) == (
        "marts.vip_people",
        "unset",
        ["email"],
    )


def test_the_tables_have_every_field_and_kind() -> None:
    fields = [line.split("`")[1] for line in table_of_fields().splitlines()[2:]]
    kinds = [line.split("`")[1] for line in table_of_kinds().splitlines()[2:]]

    assert fields == [name for name in Sync.model_fields if name != "name"]
    assert kinds == [kind.value for kind in Kind]
    assert all(line.count("|") == 5 for line in (table_of_fields() + "\n" + table_of_kinds()).splitlines())
    assert all(field.description for field in Sync.model_fields.values())


def test_the_module_prints_them() -> None:
    command = [sys.executable, "-W", "error", "-m", "cio_assets.reverse_etl.syncs_file"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert table_of_fields() in done.stdout, done.stderr
    assert EXAMPLE in done.stdout
