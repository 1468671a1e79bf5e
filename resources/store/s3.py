"""The store in an S3 bucket, safe among any number of writers through conditional requests.

Every conditional write is a compare-and-swap on the ETag: ``If-None-Match: *`` to create, ``If-Match`` to
replace or append. Such a write can fail ambiguously: the server applies it, the answer is lost, and the
second sending is told 412 because of the first. Each write therefore carries a fresh id, in front of the
ids of the writes below it, in the object's metadata. After any refusal or silence the object is looked at
again: our id among its ids means that the write was applied, even when others have written since. A write
still on its way cannot surprise us later: it is bound to the old ETag, and the retry competes for the same.
"""

import logging
import math
import os
import random
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from resources.store import (
    PROBE,
    AlreadyExists,
    Blob,
    Entry,
    Line,
    NotFound,
    StoreError,
    StoreUnavailable,
    StoreUnsafe,
    VersionConflict,
    check_key,
    check_prefix,
    is_key,
    last_line,
    next_line,
)

_logger = logging.getLogger(__name__)

_LEAST_PART = 5 * 1024**2  # bytes: S3 takes no smaller part, except as the last one
_LARGEST_COPY = 5 * 1024**3  # bytes: S3 copies no more into one part
_LOG_END = 64 * 1024  # bytes fetched to find a log's last line
_REMEMBERED_LOGS = 8  # each holds less than _LEAST_PART bytes
_IDS = "desk-writes"  # metadata name
_ID_LENGTH = 8  # characters
_MOST_IDS = 240  # S3 allows 2 KB of metadata
_PATIENCE = 60.0  # seconds of lost races or silence before a write gives up
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5  # seconds, upper ends of the jitter
_BODY_READS = 3
_READS_AT_ONCE = 16
_NO_ETAG = '"none"'  # matches no object
_OVERWRITTEN = "overwritten"  # the version of a write that others have already replaced: matches nothing


class _Refused(StoreUnavailable):
    """A conditional request was turned down; ``doubtful`` when an earlier sending of it may be the reason."""

    def __init__(self, message: str, *, doubtful: bool) -> None:
        super().__init__(message)
        self.doubtful = doubtful


class _Silent(StoreUnavailable):
    """No answer that says whether the request was applied."""


@dataclass(frozen=True, slots=True)
class _Log:
    """What an append needs to know of an object.

    ``etag`` is None when there is none, ``whole`` the bytes up to the last newline, ``body`` those bytes
    themselves where they are at hand.
    """

    etag: str | None
    ids: tuple[str, ...]
    whole: int
    last: bytes
    body: bytes | None


class S3Store:
    """``Store`` under ``prefix`` of ``bucket``; ``client`` is a boto3 S3 client and may be shared by threads."""

    reads_at_once = _READS_AT_ONCE

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        self._logs_lock = threading.Lock()
        self._copying: bool | None = None

    @classmethod
    def at(cls, url: str) -> Self:
        """The store at ``s3://bucket/prefix``; the standard ``AWS_*`` variables say where and as whom.

        Raises ValueError for a malformed url.
        """
        bucket, _, prefix = url.removeprefix("s3://").rstrip("/").partition("/")
        if not url.startswith("s3://") or not bucket:
            raise ValueError(f"{url!r} is not s3://bucket/prefix")
        if prefix:
            check_key(prefix)
        own_server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 5},
            max_pool_connections=2 * _READS_AT_ONCE,  # two who read ahead at a time keep their connections
            # Other servers than AWS often refuse the newer checksums, and an upload that declares one needs
            # it for copied parts too. The request signature already covers the body.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if own_server else "auto"},
        )
        return cls(boto3.session.Session().client("s3", config=config), bucket, prefix)

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        check_key(key)
        if tail == 0:
            head = self._head(key)
            return Blob(b"", head["ETag"], head["ContentLength"])
        body, answer = self._end(key, tail)
        return Blob(body, answer["ETag"], _size(answer))

    def write(self, key: str, data: bytes) -> str:
        check_key(key)
        return self._put(key, data, {})

    def create(self, key: str, data: bytes) -> str:
        check_key(key)
        own = _new_id()
        for pause in _pauses():
            with suppress(_Refused, _Silent):
                return self._put(key, data, {"IfNoneMatch": "*"}, (own,))
            with suppress(NotFound):
                head = self._head(key)
                if own not in _ids(head):
                    raise AlreadyExists(f"{key!r} already exists in {self.url}")
                return _version_of(own, head)
            time.sleep(pause)
        raise self._gave_up("create", key)

    def replace(self, key: str, data: bytes, version: str) -> str:
        check_key(key)
        own = _new_id()
        doubtful = False
        head = self._head(key)
        before = _ids(head)
        for pause in _pauses():
            if head["ETag"] != version:
                if doubtful:
                    self._require_history(key, before, _ids(head))
                raise VersionConflict(f"{key!r} in {self.url} is at {head['ETag']}, not {version}: read it again")
            try:
                return self._put(key, data, {"IfMatch": version}, _with_id(own, before))
            except _Refused as refused:
                doubtful |= refused.doubtful
            except _Silent:
                doubtful = True
            time.sleep(pause)
            head = self._head(key)
            if own in _ids(head):
                return _version_of(own, head)
        raise self._gave_up("replace", key)

    def append(self, key: str, line: Line) -> bytes | None:
        check_key(key)
        attempts: dict[str, bytes] = {}
        doubted: _Log | None = None  # the log under an attempt that may have been applied, or still may be
        log = self._remembered(key)
        fresh = False
        for pause in _pauses():
            if log is None:
                log, fresh = self._look(key), True
                for own in log.ids:
                    if own in attempts:
                        return attempts[own]
                if doubted and log.etag != doubted.etag:
                    self._require_history(key, doubted.ids, log.ids)
                    doubted = None  # never applied, and bound to a version that is gone
            new = next_line(line, log.last)
            if new is None and not fresh:  # only the present last line may decline
                log, fresh = self._look(key), True
                new = next_line(line, log.last)
            if new is None:
                return None
            own = _new_id()
            attempts[own] = new
            try:
                self._remember(key, self._extend(key, log, new, own))
                return new
            except _Refused as refused:
                doubted = doubted or (log if refused.doubtful else None)
            except _Silent:
                doubted = doubted or log
            except NotFound:  # taken away from outside meanwhile
                pass
            log = None
            time.sleep(pause)
        raise self._gave_up("append to", key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        return self._pages(prefix, after)

    def check(self) -> None:
        key = f"{PROBE}/{_new_id()}"
        try:
            self._put(key, b"probe", {})
            for header, broken in (("If-None-Match", {"IfNoneMatch": "*"}), ("If-Match", {"IfMatch": _NO_ETAG})):
                with suppress(_Refused):
                    self._put(key, b"probe", broken)
                    raise StoreUnsafe(
                        f"{self.url} ignores conditional writes ({header}): two writers could overwrite each other; "
                        "the desk refuses to trade on it. Use Amazon S3, another server that honours them, or a folder"
                    )
        finally:
            self._delete(key)
        self._copies_logs()

    def _pages(self, prefix: str, after: str) -> Iterator[Entry]:
        options = {"StartAfter": self._prefix + after} if after else {}
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix, **options
            )
        )
        while True:
            with self._answering("list", prefix):
                page = next(pages, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self._prefix)
                if is_key(key):
                    yield Entry(key, found["Size"], found["LastModified"].astimezone(UTC), found["ETag"])

    @contextmanager
    def _answering(self, action: str, key: str) -> Iterator[None]:
        """Turns the SDK's errors into NotFound, _Refused, _Silent (is StoreUnavailable) or StoreUnavailable."""
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            facts = error.response["ResponseMetadata"]
            status = facts["HTTPStatusCode"]
            message = f"cannot {action} {key!r} in {self.url}: {error}; check the bucket and rights, then run it again"
            if code in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload") or status in (409, 412):
                raise _Refused(message, doubtful=facts.get("RetryAttempts", 0) > 0) from error
            if status == 404 and code != "NoSuchBucket":
                raise NotFound(f"no object {key!r} in {self.url}") from error
            kind = _Silent if status >= 500 or code == "RequestTimeout" else StoreUnavailable
            raise kind(message) from error
        except BotoCoreError as error:
            message = f"cannot {action} {key!r} in {self.url}: {error}; check the network, then run it again"
            raise _Silent(message) from error

    def _gave_up(self, action: str, key: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"cannot {action} {key!r} in {self.url}: refused or unanswered for {_PATIENCE:.0f} s; run it again"
        )

    def _require_history(self, key: str, before: tuple[str, ...], now: tuple[str, ...]) -> None:
        """Raise unless the ids ``now`` reach back to ``before``, so that our id's absence means not applied."""
        if not (before[0] in now if before else len(now) < _MOST_IDS):
            raise StoreUnavailable(
                f"cannot tell whether the write to {key!r} in {self.url} was applied, so many came after it; read it"
            )

    def _call(self, action: str, key: str, operation: Callable[..., Any], **parameters: Any) -> Any:
        with self._answering(action, key):
            return operation(Bucket=self._bucket, Key=self._prefix + key, **parameters)

    def _head(self, key: str) -> Any:
        return self._call("read", key, self._client.head_object)

    def _put(self, key: str, data: bytes, condition: dict[str, str], ids: tuple[str, ...] = ()) -> str:
        answer = self._call("write", key, self._client.put_object, Body=data, Metadata=_metadata(ids), **condition)
        return str(answer["ETag"])

    def _delete(self, key: str) -> None:
        with suppress(StoreError):  # a role that may not delete leaves a hidden object of five bytes
            self._call("delete", key, self._client.delete_object)

    def _end(self, key: str, length: int | None, **condition: str) -> tuple[bytes, Any]:
        """The last ``length`` bytes (all when None) and the response they came with."""
        target = {"Bucket": self._bucket, "Key": self._prefix + key, **condition}
        for left in reversed(range(_BODY_READS)):
            with self._answering("read", key):
                if length is None:
                    answer = self._client.get_object(**target)
                else:
                    try:
                        answer = self._client.get_object(**target, Range=f"bytes=-{length}")
                    except ClientError as error:
                        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 416:
                            raise
                        answer = self._client.get_object(**target)  # an empty object has no last bytes
                try:
                    body = answer["Body"].read()
                except BotoCoreError:  # the SDK repeats requests, but not bodies that break off
                    if left:
                        continue
                    raise
                return (body if length is None else body[-length:]), answer
        raise AssertionError("unreachable: the last read returns or raises")

    def _look(self, key: str) -> _Log:
        for pause in _pauses():
            with suppress(_Refused):  # it changed between two of the requests
                return self._look_once(key)
            time.sleep(pause)
        raise self._gave_up("read the end of", key)

    def _look_once(self, key: str) -> _Log:
        try:
            end, answer = self._end(key, _LOG_END)
        except NotFound:
            return _Log(None, (), 0, b"", b"")
        etag, size = answer["ETag"], _size(answer)
        if len(end) < size < _LEAST_PART:
            end, answer = self._end(key, None, IfMatch=etag)

        def read_end(length: int) -> bytes:
            return end[len(end) - length :] if length <= len(end) else self._end(key, length, IfMatch=etag)[0]

        last, whole = last_line(size, read_end)
        return _Log(etag, _ids(answer), whole, last, end[:whole] if len(end) == size else None)

    def _remembered(self, key: str) -> _Log | None:
        with self._logs_lock:
            return self._logs.get(key)

    def _remember(self, key: str, log: _Log) -> None:
        """Keep what we wrote: unless others write too, the next append needs no look at the log."""
        with self._logs_lock:
            self._logs[key] = log
            self._logs.move_to_end(key)
            if len(self._logs) > _REMEMBERED_LOGS:
                self._logs.popitem(last=False)

    def _extend(self, key: str, log: _Log, line: bytes, own: str) -> _Log:
        """Write ``log`` with one more line, if the object is still that log."""
        row = line + b"\n"
        ids = _with_id(own, log.ids)
        whole = log.whole + len(row)
        if log.etag is not None and log.whole >= _LEAST_PART and self._copies_logs():
            etag = self._upload(key, log.etag, log.whole, row, ids)
            return _Log(etag, ids, whole, line, None)
        if log.etag is None:
            body, condition = row, {"IfNoneMatch": "*"}
        else:
            condition = {"IfMatch": log.etag}
            before = log.body if log.body is not None else self._end(key, None, **condition)[0][: log.whole]
            body = before + row
        etag = self._put(key, body, condition, ids)
        return _Log(etag, ids, whole, line, body if whole < _LEAST_PART else None)

    def _upload(self, key: str, etag: str, kept: int, row: bytes, ids: tuple[str, ...]) -> str:
        """Write the first ``kept`` bytes of version ``etag``, copied within S3, and ``row``; the new version.

        One request a part: the copies cost the client nothing, whatever the log's length.
        """
        path = self._prefix + key
        upload = self._call("write", key, self._client.create_multipart_upload, Metadata=_metadata(ids))["UploadId"]
        try:
            etags = []
            # Parts of equal size: cut at the limit, the rest could be smaller than S3 takes.
            copies = math.ceil(kept / _LARGEST_COPY)
            cuts = [kept * number // copies for number in range(copies + 1)] if copies else [0]
            for number, (start, stop) in enumerate(pairwise(cuts), start=1):
                answer = self._call(
                    "write",
                    key,
                    self._client.upload_part_copy,
                    UploadId=upload,
                    PartNumber=number,
                    CopySource={"Bucket": self._bucket, "Key": path},
                    CopySourceRange=f"bytes={start}-{stop - 1}",
                    CopySourceIfMatch=etag,
                )
                etags.append(answer["CopyPartResult"]["ETag"])
            answer = self._call(
                "write", key, self._client.upload_part, UploadId=upload, PartNumber=len(etags) + 1, Body=row
            )
            etags.append(answer["ETag"])
            parts = [{"PartNumber": number, "ETag": part} for number, part in enumerate(etags, start=1)]
            complete = self._client.complete_multipart_upload
            answer = self._call("write", key, complete, UploadId=upload, MultipartUpload={"Parts": parts}, IfMatch=etag)
            return str(answer["ETag"])
        except BaseException:
            # Unfinished uploads are billed. One that was completed after all is not undone by this.
            with suppress(StoreError):
                self._call("abort", key, self._client.abort_multipart_upload, UploadId=upload)
            raise

    def _copies_logs(self) -> bool:
        """Whether completing an upload honours If-Match; found out once, with an upload that must be refused.

        Where it does not, a long log is safe only as one conditional put of all its bytes.
        """
        if self._copying is None:
            key = f"{PROBE}/{_new_id()}"
            try:
                self._put(key, b"probe", {})
                self._upload(key, _NO_ETAG, 0, b"probe", ())
                self._copying = False
                _logger.warning(
                    "%s ignores If-Match when an upload is completed: logs above 5 MiB are sent whole at each line",
                    self.url,
                )
            except _Refused:
                self._copying = True
            finally:
                self._delete(key)
        return self._copying


def _pauses() -> Iterator[float]:
    """A jittered pause, in seconds, for each try there is time for."""
    longest = _FIRST_PAUSE
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        yield random.uniform(0, longest)
        longest = min(2 * longest, _LONGEST_PAUSE)


def _new_id() -> str:
    return secrets.token_urlsafe(_ID_LENGTH * 6 // 8)


def _with_id(own: str, before: tuple[str, ...]) -> tuple[str, ...]:
    return (own, *before)[:_MOST_IDS]


def _metadata(ids: tuple[str, ...]) -> dict[str, str]:
    return {_IDS: "".join(ids)} if ids else {}


def _ids(answer: Any) -> tuple[str, ...]:
    """The ids of the writes that led to the object, newest first, as far back as they are kept."""
    kept = answer["Metadata"].get(_IDS, "")
    return tuple(kept[start : start + _ID_LENGTH] for start in range(0, len(kept), _ID_LENGTH))


def _version_of(own: str, head: Any) -> str:
    return str(head["ETag"]) if _ids(head)[0] == own else _OVERWRITTEN


def _size(answer: Any) -> int:
    """The whole object's length in bytes, also of an answer that holds only its end."""
    return int(answer["ContentRange"].rpartition("/")[2] if "ContentRange" in answer else answer["ContentLength"])
