"""Tables read ahead of their assets: one alone first, no asset waits in vain, errors are told once and not late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from cio_assets import ahead
from cio_assets.ahead import ReadAhead
from cio_assets.assets.api import AppApi
from cio_assets.assets.read_rows import read_rows
from cio_assets.assets.reading import Plan, Wanted, plan_stored
from cio_assets.catalog import TABLES, Table
from cio_assets.customerio import ServiceUnavailable
from cio_assets.io_managers import StoredTable, make_warehouse
from cio_assets.settings import load_settings
from cio_assets.warehouse import load
from cio_assets_tests.conftest import environment
from cio_assets_tests.customerio.http_server import Say, Server
from cio_assets_tests.warehouse.stage import put

NAMES = ("segments", "snippets", "collections")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppApi:
    for name, value in environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    return AppApi(load_settings(_env_file=None, dagster_home=tmp_path / "home"))


def begin(
    api: AppApi,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[ReadAhead, Table], None],
    names: Iterable[str] = NAMES,
) -> ReadAhead:
    """Read ahead with another reading of a table."""
    monkeypatch.setattr(ReadAhead, "_read", read)
    return ReadAhead(api, {name: Wanted() for name in names}, None)


def test_the_first_table_is_read_alone(api: AppApi, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go, both = [], threading.Event(), threading.Barrier(ahead.READERS)

    def read(_: ReadAhead, table: Table) -> None:
        began.append(table.name)
        if len(began) == 1:
            assert go.wait(20)
        else:
            both.wait(20)  # the others side by side

    reading = begin(api, monkeypatch, read)
    waiting = threading.Thread(target=api.before_reading, args=[NAMES[0]])
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive(), "an asset waits while its table is read"
    assert began == [NAMES[0]]
    go.set()
    waiting.join(20)
    assert not waiting.is_alive()
    for name in NAMES[1:]:
        api.before_reading(name)
    reading.close()
    assert not both.broken


def test_whatever_ends_a_reading_its_asset_goes_on(api: AppApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: ReadAhead, table: Table) -> None:
        raise ValueError(table.name)

    reading = begin(api, monkeypatch, read)
    assert api.before_reading(NAMES[0]) is None
    reading.close()


@pytest.mark.parametrize("old", [False, True])
def test_what_a_reading_met_is_its_asset_s_unless_it_is_old(
    api: AppApi, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    def meet(reading: ReadAhead, table: Table) -> None:
        when = ahead.time.monotonic() - (ahead.STILL_SO + 1 if old else 0)
        reading._met[table.name] = when, ServiceUnavailable("away")

    reading = begin(api, monkeypatch, meet)
    if old:
        assert api.before_reading(NAMES[0]) is None
    else:
        with pytest.raises(ServiceUnavailable, match="away"):
            api.before_reading(NAMES[0])
    reading.close()


def test_what_another_run_loads_after_the_plan_is_not_overwritten_by_it(api: AppApi) -> None:
    table = TABLES["segment_membership"]
    with closing(Server()) as server:
        api.settings = api.settings.model_copy(update={"app_url": server.url, "app_api_key": SecretStr("k")})
        server.decide = lambda asked: Say(body={"identifiers": [{"cio_id": f"c{asked.target.split('/')[3]}"}]})
        warehouse = make_warehouse(api.settings)
        parents = {"segments": StoredTable(warehouse, "segments", ["id"])}

        def read_and_load(plan: Plan) -> int:
            rows = read_rows(plan, Wanted(), api, lambda *_: None)
            loaded = plan.load(rows.staged, rows.began, rows.extracted, "")
            done = load(warehouse, table, rows.staged, loaded.read_at, scope=loaded.scope, reading=loaded.reading)
            rows.staged.discard()
            return done.rows_marked_deleted

        put(warehouse, "segments", [{"id": 1}])
        early = plan_stored(table, Wanted(), api, warehouse, parents)
        put(warehouse, "segments", [{"id": 1}, {"id": 2}])
        read_and_load(plan_stored(table, Wanted(), api, warehouse, parents))

        assert read_and_load(early) == 0
        assert sorted(warehouse.query("SELECT cio_id, _deleted_at FROM segment_membership")) == [
            ("c1", None),
            ("c2", None),
        ]


def test_a_table_that_nobody_has_begun_is_its_asset_s(api: AppApi, monkeypatch: pytest.MonkeyPatch) -> None:
    read_ahead: list[str] = []
    reading = begin(api, monkeypatch, lambda _, table: read_ahead.append(table.name))
    api.before_reading(NAMES[0])
    reading.close()
    api.before_reading(NAMES[-1])
    assert len(read_ahead) == len(set(read_ahead))
    assert TABLES.keys() >= set(read_ahead)


@pytest.mark.parametrize("by_its_asset", [False, True])
def test_the_short_metrics_are_read_when_the_long_ones_are(
    api: AppApi, monkeypatch: pytest.MonkeyPatch, by_its_asset: bool
) -> None:
    began: list[str] = []
    go, short = threading.Event(), threading.Event()

    def read(_: ReadAhead, table: Table) -> None:
        began.append(table.name)
        if table.name == "campaign_metrics":
            assert go.wait(20)
        if table.name == "newsletter_metrics":
            short.set()

    names = ["snippets", *([] if by_its_asset else ["campaign_metrics"]), "newsletter_metrics", "segments"]
    if by_its_asset:
        monkeypatch.setattr(ReadAhead, "_begin", lambda *_: None)  # not before the asset has taken its table
    reading = begin(api, monkeypatch, read, names)
    if by_its_asset:
        reading._tried = True
        api.before_reading("campaign_metrics")
        threading.Thread(target=reading._work, daemon=True).start()
    while "segments" not in began:
        ahead.time.sleep(0.01)
    assert not short.wait(0.1), "it is read while the long ones are"
    go.set()
    api.after_reading("campaign_metrics")
    assert short.wait(20)
    reading.close()


def test_metrics_that_could_not_be_read_do_not_keep_others_waiting(
    api: AppApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = threading.Event()
    names = ["snippets", "campaigns", "campaign_metrics", "newsletter_metrics"]
    reading = begin(
        api, monkeypatch, lambda _, table: short.set() if table.name == "newsletter_metrics" else None, names
    )
    assert not short.wait(0.1)  # campaigns never come: campaign_metrics are not due
    reading.leave(["campaigns", "campaign_metrics"])
    assert short.wait(20)
    reading.close()


def test_an_asset_that_comes_before_the_first_reading_waits_for_it_alone(
    api: AppApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, began = threading.Event(), ReadAhead._begin
    monkeypatch.setattr(ReadAhead, "_begin", lambda self, first: begun.wait(20) and began(self, first))
    reading = begin(api, monkeypatch, lambda *_: None, ["campaigns", "campaign_actions"])
    waiting = threading.Thread(target=api.before_reading, args=["campaigns"])
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    begun.set()
    waiting.join(20)
    assert not waiting.is_alive()
    reading.close()
