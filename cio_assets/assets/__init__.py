"""The catalog's rows as assets."""
