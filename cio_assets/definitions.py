"""What Dagster loads; nothing else imports it. A wrong setting stops the load with one sentence a variable."""

from __future__ import annotations

from cio_assets.build import build_definitions
from cio_assets.settings import load_settings

defs = build_definitions(load_settings())
