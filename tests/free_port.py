"""A port for a server that a test starts, stops and starts again."""

import random
import socket

# Below what kernels give to connections (from 32768 on Linux): there, while a server is down, its port may be taken by
# somebody's connection, or by the very attempt to connect to it, which then talks to itself.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    draw = random.SystemRandom()
    while True:
        port = draw.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
