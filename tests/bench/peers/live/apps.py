import os

from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "live"

    def ready(self):
        if os.environ.get("LIVE_SIGNALS") == "1":
            from live import signals  # noqa: F401
