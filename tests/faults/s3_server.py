"""An S3 server for tests: moto, made as exact about conditional requests as Amazon's service.

moto 5.2 checks a condition and writes in two steps that other requests can come between, and it ignores
``If-Match`` when an upload is completed and ``x-amz-copy-source-if-match`` when a part is copied.
"""

import functools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
from moto import mock_aws
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.exceptions import PreconditionFailed
from moto.s3.responses import S3Response
from werkzeug.serving import make_server

BUCKET = "desk"

_ROOT = Path(__file__).parents[2]
_ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}

_one_request = threading.RLock()


def _serial(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def serial(self: S3Response, *args: Any) -> Any:
        with _one_request:
            return method(self, *args)

    return serial


def _guarded(method: Callable[..., Any], header: str) -> Callable[..., Any]:
    """``method`` refusing when the object is no longer the version that ``header`` names."""

    @functools.wraps(method)
    def guarded(self: S3Response, *args: Any) -> Any:
        expected = self.headers.get(header)
        if expected is not None:
            found = self.backend.get_object(self.bucket_name, self.parse_key_name())
            completed = self.querystring.get("uploadId", [""])[0]
            repeated = found is not None and found.multipart is not None and found.multipart.id == completed
            if not repeated and (found is None or found.etag != expected):
                raise PreconditionFailed(header)
        return method(self, *args)

    return guarded


@contextmanager
def exact_conditions() -> Iterator[None]:
    """moto of this process answers conditional requests as Amazon's service does."""
    with ExitStack() as patches:
        for name, wrapped in (
            ("key_response", _serial(S3Response.key_response)),
            ("_key_response_post", _guarded(S3Response._key_response_post, "If-Match")),
            ("upload_part_copy", _guarded(S3Response.upload_part_copy, "x-amz-copy-source-if-match")),
        ):
            patches.enter_context(patch.object(S3Response, name, wrapped))
        yield


@contextmanager
def s3_here() -> Iterator[None]:
    """S3 simulated inside this process, holding an empty bucket."""
    with patch.dict(os.environ, _ACCESS), mock_aws(), exact_conditions():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield


@contextmanager
def s3_process() -> Iterator[dict[str, str]]:
    """S3 in a process of its own, holding an empty bucket; gives the environment that leads clients there."""
    command = [sys.executable, "-m", "tests.faults.s3_server"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            access = {**_ACCESS, "AWS_ENDPOINT_URL": server.stdout.readline().strip()}
            with patch.dict(os.environ, access):
                boto3.session.Session().client("s3").create_bucket(Bucket=BUCKET)
                yield access
        finally:
            server.kill()


def _serve() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with exact_conditions():
        server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
        print(f"http://127.0.0.1:{server.port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    _serve()
