"""What Dagster loads; nothing else imports it. A wrong setting stops the load with one sentence a variable."""

from __future__ import annotations

from cio_assets.build import build_definitions
from cio_assets.demo_mark import DEMO_MARK
from cio_assets.examples import with_examples
from cio_assets.settings import load_settings

_settings = load_settings()
defs = build_definitions(_settings)
if (_settings.dagster_home / DEMO_MARK).exists():
    defs = with_examples(defs)
