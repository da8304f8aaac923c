"""A model with every common field type; part of the tests, not of the application."""
