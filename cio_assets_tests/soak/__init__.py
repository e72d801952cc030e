"""What takes minutes: `make soak` runs it, `make test` does not."""
