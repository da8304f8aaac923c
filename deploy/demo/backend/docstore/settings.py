"""Settings, from the environment.

    DATABASE_URL      postgresql://user:password@host:5432/name
    SECRET_KEY        Django's
    JWT_SIGNING_KEY   signs the access tokens; the same as walpush's. Default: SECRET_KEY
    ALLOWED_HOSTS     comma-separated; default localhost,127.0.0.1
    FRONTEND_DIR      the built frontend, served from / if it is there; default ../frontend/dist
    WEBSOCKET_URL     where browsers find walpush; default ws://localhost:8001
    DEBUG             1 for development
"""

import os
from datetime import timedelta
from pathlib import Path

import dj_database_url

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "store",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
]
ROOT_URLCONF = "docstore.urls"
WSGI_APPLICATION = "docstore.wsgi.application"

DATABASES = {
    "default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=60, conn_health_checks=True),
}
# Integer keys, as in the tables that this application has always had.
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
AUTH_USER_MODEL = "store.User"

USE_TZ = True
TIME_ZONE = "UTC"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["store.authentication.ActiveUserAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=int(os.environ.get("ACCESS_TOKEN_SECONDS", "900"))),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
    "SIGNING_KEY": os.environ.get("JWT_SIGNING_KEY") or SECRET_KEY,
    "TOKEN_OBTAIN_SERIALIZER": "store.authentication.TokenSerializer",
    "USER_AUTHENTICATION_RULE": "store.authentication.may_log_in",
    "UPDATE_LAST_LOGIN": True,
}

STATIC_URL = "static/"
FRONTEND_DIR = Path(os.environ.get("FRONTEND_DIR", BASE_DIR.parent / "frontend/dist"))
WHITENOISE_ROOT = FRONTEND_DIR if FRONTEND_DIR.is_dir() else None
WEBSOCKET_URL = os.environ.get("WEBSOCKET_URL", "ws://localhost:8001")
