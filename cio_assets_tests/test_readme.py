"""The README tells the truth: its tables follow from the code, its commands exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from cio_assets.catalog.docs import table_of_tables
from cio_assets.reverse_etl.docs import table_of_outcomes
from cio_assets.settings import Settings
from cio_assets_tests.conftest import PROJECT, environment, run_cli

README = (PROJECT / "README.md").read_text()


def test_the_table_of_tables_is_the_catalog_s() -> None:
    found = re.search(r"<!-- tables -->\n(.*)\n<!-- /tables -->", README, re.DOTALL)
    assert found is not None
    assert found[1] == table_of_tables(), "paste the output of: python -m cio_assets.catalog.docs"


def test_the_table_of_odd_values_is_the_rules() -> None:
    found = re.search(r"<!-- outcomes -->\n(.*)\n<!-- /outcomes -->", README, re.DOTALL)
    assert found is not None
    assert found[1] == table_of_outcomes(), "paste the output of: python -m cio_assets.reverse_etl.docs"


def test_every_variable_is_documented() -> None:
    variables = {str(field.validation_alias) for field in Settings.model_fields.values()}
    configuration = README.partition("## Configuration")[2].partition("\n## ")[0]
    assert {variable for variable in variables if f"`{variable}`" not in configuration} == set()
    example = (PROJECT / ".env.example").read_text()
    assert {v for v in variables if f"{v}=" not in example and v != "DAGSTER_HOME"} == set()


def test_every_make_target_is_there() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE))
    assert targets >= {"demo", "test", "dev", "lint", "bench"}
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_every_command_of_the_readme_is_one(tmp_path: Path) -> None:
    commands = set(re.findall(r"cio-assets (\w+)", README))
    assert commands == {"check", "plan", "sync", "push", "rejects", "sandbox"}
    for command in commands:
        assert run_cli([command, "--help"], environment(tmp_path), tmp_path).code == 0


def test_the_lock_file_names_no_index() -> None:
    text = (PROJECT / "requirements.lock").read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    assert all("==" in line for line in text.splitlines() if line.strip())


def test_no_generated_file_is_tracked() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout
    assert not re.search(r"\.duckdb|\.dagster_home|\.venv|__pycache__", tracked)
