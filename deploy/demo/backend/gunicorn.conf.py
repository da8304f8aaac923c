"""Threads share one process: its memory, and a database connection each."""

import os

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = 8
control_socket_disable = True
