"""When assets are materialized: jobs."""
