"""What the tests and `make run` share."""
