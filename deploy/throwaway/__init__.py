"""A PostgreSQL that lasts as long as whoever needs it, with the application's tables; and edits of a sidecar.conf. For `make run`, `make demo` and the tests."""
