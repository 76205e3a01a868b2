"""Settings, most of which come from the environment, as in a container they should.

SECRET_KEY       signs the cookies; several replicas need the same. What stands here is no secret.
DATABASE_HOST    a PostgreSQL server, with DATABASE_NAME, DATABASE_USER and DATABASE_PASSWORD;
                 without it, users are kept in the file /data/db.sqlite3
"""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "not-a-secret-set-your-own")
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "people.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "people",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.contrib.auth.context_processors.auth"]},
    }
]
POSTGRES = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": os.environ.get("DATABASE_HOST"),
    "NAME": os.environ.get("DATABASE_NAME", "postgres"),
    "USER": os.environ.get("DATABASE_USER", "postgres"),
    "PASSWORD": os.environ.get("DATABASE_PASSWORD", ""),
}
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/data/db.sqlite3"}
DATABASES = {"default": POSTGRES if POSTGRES["HOST"] else SQLITE}
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"
LOGIN_URL = "login"
USE_TZ = True
TIME_ZONE = "UTC"
