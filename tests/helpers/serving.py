"""Settings of a backend on a test's own Redis."""

from typing import Any

import redis

from prepal.settings import Settings


def settings_of(connection: redis.Redis, **more: Any) -> Settings:
    where = connection.connection_pool.connection_kwargs
    url = f"redis://:{where['password']}@{where['host']}:{where['port']}/{where.get('db', 0)}"
    label_studio = "http://user:url-secret@labels.example.com:8080/"
    return Settings(redis_url=url, label_studio_url=label_studio, label_studio_api_key="token-secret", **more)
