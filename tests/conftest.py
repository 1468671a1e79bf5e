"""What holds for every test, and the Redis that tests of several folders share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import redis

    from tests.redis_server import RedisServer

# The machine is shared and slow at times: time-outs belong to benchmarks, not to properties, and how long it took to
# draw examples says nothing of them. The same commit is judged by the same examples wherever it is tested; new ones are
# looked for by `make search`.
_ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("desk", _ANY_SPEED, derandomize=True)
settings.register_profile("search", _ANY_SPEED)
settings.load_profile("desk")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RedisServer"]:
    """A Redis server for the tests of a module, which find in it what the one before left."""
    from tests.redis_server import redis_server  # imported here so that other tests do not pay for it

    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def client(server: "RedisServer") -> "redis.Redis":
    """A client of that server, which is empty."""
    client = server.client()
    client.flushall()
    return client
