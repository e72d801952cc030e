"""Customer.io as Dagster assets: its App API lists in a warehouse, warehouse rows back through its Track API."""
