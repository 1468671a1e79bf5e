"""A real Redis server for tests: on loopback, on a free port, in a folder of its own, ended by its process id."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from resources.bus.redis_bus import connect
from tests.free_port import free_port

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

_READY_S = 60.0


@dataclass(frozen=True)
class Certificates:
    """A server's certificate with its key, and the authority that vouches for it."""

    certificate: Path
    key: Path
    authority: Path


class RedisServer:
    """One server that can be killed and started again on the same port and folder."""

    def __init__(self, folder: Path, *options: str, certificates: Certificates | None = None) -> None:
        self._folder = folder
        self._options = options
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()

    @property
    def url(self) -> str:
        if self._certificates is None:
            return f"redis://127.0.0.1:{self.port}/0"
        return f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={self._certificates.authority}"

    def client(self) -> "redis.Redis":
        return connect(self.url)

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--dir", str(self._folder)]
        if self._certificates is None:
            command += ["--port", str(self.port)]
        else:
            command += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            command += ["--tls-cert-file", str(self._certificates.certificate)]
            command += ["--tls-key-file", str(self._certificates.key)]
            command += ["--tls-ca-cert-file", str(self._certificates.authority)]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*command, *self._options], stdout=log, stderr=log)
        until = time.monotonic() + _READY_S
        while True:
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    pass
                if self._certificates is not None or self._answers():
                    return
            except (OSError, redis.RedisError):
                assert time.monotonic() < until, (self._folder / "redis.log").read_text()
                time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            return bool(connect(self.url).ping())
        except redis.AuthenticationError:
            return True  # a client's affair

    def kill(self) -> None:
        """SIGKILL: nothing is saved that was not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def redis_server(folder: Path, *options: str, certificates: Certificates | None = None) -> Iterator[RedisServer]:
    """A running server; without other options it keeps nothing on disk."""
    server = RedisServer(folder, *(options or ("--save", "")), certificates=certificates)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def self_made_certificates(folder: Path, host: str = "127.0.0.1") -> Certificates:
    """A new authority and a certificate it made for ``host``, an address."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of a test")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _certificate(name, authority_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    made = Certificates(folder / "server.crt", folder / "server.key", folder / "authority.crt")
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
