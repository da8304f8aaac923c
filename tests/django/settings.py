"""The application's own settings, and the model with every field type."""

import os

# Nothing connects before a test has made its database and said so: see database.py.
os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
os.environ.setdefault("SECRET_KEY", "secret-key-of-the-tests-and-of-nothing-else")

from docstore.settings import *  # noqa: E402, F403
from docstore.settings import INSTALLED_APPS, REST_FRAMEWORK

INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.postgres", "fieldtypes"]
# A file's column holds its name; the address that DRF makes of it by default is the web server's.
REST_FRAMEWORK = {**REST_FRAMEWORK, "UPLOADED_FILES_USE_URL": False}
