"""From the environment: DATABASE_* and REDIS_PORT. Everything that is not named here is the packages' default."""

import os

SECRET_KEY = "for the benchmark alone"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["daphne", "channels", "live"]
ASGI_APPLICATION = "live.asgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        **{name: os.environ.get(f"DATABASE_{name}", "") for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [("127.0.0.1", int(os.environ.get("REDIS_PORT", "6379")))]},
    }
}
