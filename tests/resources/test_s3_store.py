"""What only S3 can do: answer late, twice or not at all, page, copy parts, or ignore conditions."""

import itertools
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ResponseStreamingError
from botocore.response import StreamingBody
from moto.s3.responses import S3Response

from resources.store import AlreadyExists, NotFound, StoreUnavailable, StoreUnsafe, VersionConflict, open_store
from resources.store import s3 as s3_module
from resources.store.s3 import S3Store
from tests.faults.s3_faults import Fault, inject
from tests.faults.s3_server import BUCKET, s3_here
from tests.free_port import free_port

_MIB = 1024**2


@pytest.fixture(scope="module", autouse=True)
def _s3() -> Iterator[None]:
    with s3_here():
        yield


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for the pauses between tries."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    monkeypatch.setattr(s3_module, "_LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(s3_module, "_FIRST_PAUSE", 0.001)


_numbers = itertools.count()


@pytest.fixture
def prefix() -> str:
    return f"store-{next(_numbers)}"


@pytest.fixture
def client(_s3: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client as ``S3Store.at`` configures it."""
    made = []
    session_client = boto3.session.Session.client

    def remember(*arguments: Any, **options: Any) -> Any:
        made.append(session_client(*arguments, **options))
        return made[-1]

    with monkeypatch.context() as patched:
        patched.setattr(boto3.session.Session, "client", remember)
        S3Store.at(f"s3://{BUCKET}")
    return made[0]


@pytest.fixture
def store(client: Any, prefix: str) -> S3Store:
    return S3Store(client, BUCKET, prefix)


@pytest.fixture
def other(prefix: str) -> S3Store:
    """Another writer's handle on the same store, whose requests meet no faults."""
    return S3Store(boto3.client("s3"), BUCKET, prefix)


def _faults(client: Any, method: str, *faults: Fault | None) -> list[str]:
    """Lets the first requests of a kind meet ``faults``, one each; gives the list of all requests as sent."""
    left = list(faults)
    sent = []

    def choose(request: AWSPreparedRequest) -> Fault | None:
        sent.append(f"{request.method} {request.url.partition('amazonaws.com')[2]}")
        return left.pop(0) if left and re.match(method, sent[-1]) else None

    inject(client, choose)
    return sent


_AMBIGUOUS = [Fault(500, "after"), Fault(503, "after"), Fault("timeout", "after"), Fault(412, "after")]
_UNAPPLIED = [Fault(500, "before"), Fault(503, "before"), Fault("timeout", "before"), Fault(409, "before")]


def test_as_many_connections_are_kept_as_reads_are_sent_at_once(client: Any) -> None:
    assert client.meta.config.max_pool_connections >= S3Store.reads_at_once > 1


@pytest.mark.parametrize("fault", _AMBIGUOUS + _UNAPPLIED, ids=str)
def test_a_create_whose_answer_was_lost_succeeds(client: Any, store: S3Store, fault: Fault) -> None:
    _faults(client, "PUT", fault)
    version = store.create("a", b"mine")
    blob = store.read("a")
    assert (blob.data, blob.version) == (b"mine", version)
    with pytest.raises(AlreadyExists):
        store.create("a", b"mine")


@pytest.mark.parametrize("fault", _AMBIGUOUS + _UNAPPLIED, ids=str)
def test_a_replace_whose_answer_was_lost_succeeds(client: Any, store: S3Store, fault: Fault) -> None:
    version = store.create("a", b"one")
    _faults(client, "PUT", fault)
    new = store.replace("a", b"two", version)
    blob = store.read("a")
    assert (blob.data, blob.version) == (b"two", new)
    with pytest.raises(VersionConflict):
        store.replace("a", b"three", version)


@pytest.mark.parametrize("fault", _AMBIGUOUS + _UNAPPLIED, ids=str)
@pytest.mark.parametrize("line", [b"row", lambda last: last + b"+"], ids=["constant", "function"])
@pytest.mark.parametrize("remembers", [True, False])
def test_an_append_whose_answer_was_lost_stands_once(
    client: Any, store: S3Store, other: S3Store, fault: Fault, line: bytes | Callable[[bytes], bytes], remembers: bool
) -> None:
    (store if remembers else other).append("log", b"row")
    _faults(client, "PUT", fault)
    new = store.append("log", line)
    assert store.read("log").data == b"row\n%s\n" % new
    assert new == (line if isinstance(line, bytes) else b"row+")


@pytest.mark.parametrize("fault", [*_AMBIGUOUS, *_UNAPPLIED], ids=str)
@pytest.mark.parametrize(
    "request_of", ["POST .*uploads", "PUT .*partNumber=1", "PUT .*partNumber=2", "POST .*uploadId"]
)
def test_an_append_to_a_long_log_stands_once_and_leaves_no_upload(
    client: Any, store: S3Store, fault: Fault, request_of: str
) -> None:
    store.write("log", b"x" * (5 * _MIB) + b"\n")
    store.append("log", b"row")
    _faults(client, request_of, fault)
    assert store.append("log", b"row") == b"row"
    assert store.read("log", tail=9).data == b"\nrow\nrow\n"
    uploads = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET, Prefix=store.url.rpartition("/")[2])
    # An upload that was begun but whose id never arrived cannot be aborted; a lifecycle rule of the bucket does.
    unknown = 1 if request_of == "POST .*uploads" and fault.when == "after" else 0
    assert len(uploads.get("Uploads", [])) == unknown


def test_an_append_overtaken_before_its_answer_was_known_stands_once(
    client: Any, store: S3Store, other: S3Store
) -> None:
    """Ours is applied, the answer is lost, another writer appends on top, then the repetition is refused."""
    store.append("log", b"first")
    overtaken = itertools.count()

    def choose(request: AWSPreparedRequest) -> Fault | None:
        if request.method != "PUT":
            return None
        turn = next(overtaken)
        if turn == 1:  # the SDK's repetition
            other.append("log", b"row")
        return Fault(500, "after") if turn == 0 else None

    inject(client, choose)
    assert store.append("log", b"row") == b"row"
    assert store.read("log").data == b"first\nrow\nrow\n"


def test_a_replace_overtaken_before_its_answer_was_known_counts(client: Any, store: S3Store, other: S3Store) -> None:
    version = store.create("count", b"1")
    overtaken = itertools.count()

    def choose(request: AWSPreparedRequest) -> Fault | None:
        if request.method != "PUT":
            return None
        turn = next(overtaken)
        if turn == 1:
            other.replace("count", b"3", other.read("count").version)
        return Fault("timeout", "after") if turn == 0 else None

    inject(client, choose)
    stale = store.replace("count", b"2", version)
    assert store.read("count").data == b"3"
    with pytest.raises(VersionConflict):
        store.replace("count", b"3", stale)


def test_a_write_lost_to_more_writers_than_are_kept_is_not_guessed(
    client: Any, store: S3Store, other: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "_MOST_IDS", 3)
    store.append("log", b"first")
    turns = itertools.count()

    def choose(request: AWSPreparedRequest) -> Fault | None:
        if request.method != "PUT":
            return None
        turn = next(turns)
        if turn == 1:
            for _ in range(4):
                other.append("log", b"other")
        return Fault(503, "after") if turn == 0 else None

    inject(client, choose)
    with pytest.raises(StoreUnavailable, match="cannot tell whether the write to 'log'"):
        store.append("log", b"row")
    assert store.read("log").data == b"first\nrow\n" + b"other\n" * 4


def test_a_lost_race_asks_the_line_function_again(store: S3Store, other: S3Store) -> None:
    store.append("log", b"1")
    other.append("log", b"5")
    seen = []

    def add_one(last: bytes) -> bytes:
        seen.append(last)
        return b"%d" % (int(last) + 1)

    assert store.append("log", add_one) == b"6"
    assert seen == [b"1", b"5"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_silence_beyond_the_sdks_attempts_is_looked_into(
    client: Any, store: S3Store, when: Literal["before", "after"]
) -> None:
    store.append("log", b"row")
    version = store.create("a", b"one")
    sent = _faults(client, "PUT", *[Fault("timeout", when)] * 15)
    store.append("log", b"row")
    store.replace("a", b"two", version)
    store.create("b", b"new")
    assert sum(request.startswith("PUT") for request in sent) >= 15
    assert store.read("log").data == b"row\nrow\n"
    assert (store.read("a").data, store.read("b").data) == (b"two", b"new")


def test_many_refusals_in_a_row_are_outlasted(client: Any, store: S3Store) -> None:
    _faults(client, "PUT", *[Fault(409, "before")] * 30)
    store.append("log", b"row")
    assert store.read("log").data == b"row\n"


def test_endless_refusals_end_as_unavailable(client: Any, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    version = store.create("a", b"old")
    monkeypatch.setattr(s3_module, "_PATIENCE", 0.05)
    inject(client, lambda request: Fault(409, "before") if request.method == "PUT" else None)
    for operation in (
        lambda: store.append("a", b"row"),
        lambda: store.replace("a", b"new", version),
        lambda: store.create("b", b"new"),
        lambda: store.write("c", b"new"),
    ):
        with pytest.raises(StoreUnavailable, match="run it again"):
            operation()
    assert [entry.key for entry in store.list("")] == ["a"]


@pytest.mark.parametrize("fault", [Fault(500, "before"), Fault(503, "before"), Fault("timeout", "before")], ids=str)
def test_a_server_that_never_answers_is_unavailable_with_the_key(client: Any, store: S3Store, fault: Fault) -> None:
    inject(client, lambda _: fault)
    for operation in (
        lambda: store.read("the-key"),
        lambda: store.read("the-key", tail=0),
        lambda: store.write("the-key", b""),
        lambda: store.create("the-key", b""),
        lambda: store.replace("the-key", b"", "v"),
        lambda: store.append("the-key", b"row"),
        lambda: list(store.list("the-key")),
    ):
        with pytest.raises(StoreUnavailable, match=r"the-key.*run it again"):
            operation()
    with pytest.raises(StoreUnavailable):
        store.check()


def test_a_missing_bucket_is_unavailable_not_an_absent_key() -> None:
    store = open_store("s3://no-such-bucket/desk")
    for operation in (lambda: store.read("a"), store.check, lambda: list(store.list(""))):
        with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
            operation()


def test_a_body_that_breaks_off_is_read_again(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = StreamingBody.read
    left = [2]

    def break_off(body: StreamingBody, amount: int | None = None) -> bytes:
        if left[0]:
            left[0] -= 1
            raise ResponseStreamingError(error="connection reset")
        return read(body, amount)

    store.write("a", b"whole")
    monkeypatch.setattr(StreamingBody, "read", break_off)
    assert store.read("a").data == b"whole"
    left[0] = 99
    with pytest.raises(StoreUnavailable, match="connection reset"):
        store.read("a")


def _traffic(client: Any) -> list[tuple[str, int]]:
    """The requests from now on, each with the length of its body."""
    traffic = []

    def count(request: AWSPreparedRequest, **_: Any) -> None:
        traffic.append((request.method, int(request.headers.get("Content-Length", 0))))

    client.meta.events.register_first("before-send.s3", count)
    return traffic


def test_an_append_to_a_long_log_sends_and_fetches_only_its_end(client: Any, store: S3Store, prefix: str) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{prefix}/log", Body=b"a row of the log\n" * 1_000_000)
    store.check()
    fetched = []
    client.meta.events.register(
        "after-call.s3.GetObject", lambda parsed, **_: fetched.append(int(parsed["ContentLength"]))
    )
    traffic = _traffic(client)
    assert store.append("log", lambda last: last + b", extended") == b"a row of the log, extended"
    assert [method for method, _ in traffic] == ["GET", "POST", "PUT", "PUT", "POST"]
    assert sum(length for _, length in traffic) < 1_000
    assert fetched == [64 * 1024]
    traffic.clear()
    assert store.append("log", lambda last: last[-8:]) == b"extended"
    assert [method for method, _ in traffic] == ["POST", "PUT", "PUT", "POST"]
    assert store.read("log").size == 17_000_000 + 27 + 9
    assert store.read("log", tail=53).data == b"a row of the log\na row of the log, extended\nextended\n"


def test_the_ids_of_writes_stay_within_s3s_two_kilobytes_of_metadata(client: Any, store: S3Store, prefix: str) -> None:
    for number in range(250):
        store.append("log", b"%d" % number)
    metadata = client.head_object(Bucket=BUCKET, Key=f"{prefix}/log")["Metadata"]
    ((name, ids),) = metadata.items()
    assert 1_900 < len(name) + len(ids) <= 2_048


def test_the_next_append_of_one_writer_is_one_request(client: Any, store: S3Store) -> None:
    store.append("log", b"1")
    traffic = _traffic(client)
    store.append("log", lambda last: last + b"2")
    assert traffic == [("PUT", 5)]


def test_a_copy_larger_than_a_part_is_cut_into_equal_ones(
    client: Any, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"".join(b"%07d\n" % number for number in range(2_000_000))
    store.write("log", data)
    monkeypatch.setattr(s3_module, "_LARGEST_COPY", 6 * _MIB)
    ranges = []
    client.meta.events.register(
        "before-call.s3.UploadPartCopy",
        lambda params, **_: ranges.append(params["headers"]["x-amz-copy-source-range"]),
    )
    store.append("log", b"row")
    assert ranges == ["bytes=0-5333332", "bytes=5333333-10666665", "bytes=10666666-15999999"]
    assert store.read("log").data == data + b"row\n"


def test_a_server_blind_to_conditions_on_uploads_gets_whole_logs_under_a_condition(
    store: S3Store, other: S3Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    post = S3Response._key_response_post
    monkeypatch.setattr(S3Response, "_key_response_post", post.__wrapped__)  # moto as it comes
    store.check()
    assert "ignores If-Match when an upload is completed" in caplog.text
    store.write("log", b"x" * (5 * _MIB) + b"\n")
    store.append("log", b"one")
    other.append("log", b"two")
    store.append("log", b"three")
    assert store.read("log", tail=15).data == b"\none\ntwo\nthree\n"
    assert store.read("log").size == 5 * _MIB + 15


def test_check_refuses_a_server_that_ignores_if_match(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put = S3Response.put_object

    def ignoring(self: S3Response) -> Any:
        self.headers = {name: value for name, value in self.headers.items() if name.lower() != "if-match"}
        return put(self)

    monkeypatch.setattr(S3Response, "put_object", ignoring)
    with pytest.raises(StoreUnsafe, match=r"ignores conditional writes \(If-Match\)"):
        store.check()


def test_names_no_key_can_have_are_not_listed(store: S3Store, prefix: str) -> None:
    for name in ("inbox/", ".probe/left", "inbox/2026-01-02.csv"):
        boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=b"")
    assert [entry.key for entry in store.list("")] == ["inbox/2026-01-02.csv"]


def test_a_store_may_be_the_whole_bucket(prefix: str) -> None:
    store = S3Store(boto3.client("s3"), BUCKET, "")
    store.write(f"{prefix}/a", b"1")
    assert store.url == f"s3://{BUCKET}"
    assert [entry.key for entry in store.list(prefix)] == [f"{prefix}/a"]
    assert open_store(f"s3://{BUCKET}/{prefix}").read("a").data == b"1"


@pytest.mark.parametrize("url", ["s3://", "s3:///a", "s3://b/a//c", "s3://b/../c", "b/a"])
def test_a_malformed_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"s3://|key"):
        S3Store.at(url)


def test_a_log_taken_away_from_outside_begins_anew(store: S3Store, prefix: str) -> None:
    store.append("log", b"old")
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=f"{prefix}/log")
    assert store.append("log", lambda last: last or b"new") == b"new"
    assert store.read("log").data == b"new\n"
    with pytest.raises(NotFound):
        store.replace("gone", b"", "v")


@pytest.fixture
def unsafe_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """rclone serves a folder as S3, but knows no conditional writes."""
    (tmp_path / BUCKET).mkdir()
    address = ("127.0.0.1", free_port())
    rclone = Path(sys.executable).with_name("rclone")
    command = [rclone, "serve", "s3", "--auth-key", "access,secret", "--addr", f"127.0.0.1:{address[1]}", tmp_path]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 60
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(address) == 0:
                        break
                assert time.monotonic() < until, "rclone does not answer"
                time.sleep(0.005)
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{address[1]}")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            yield
        finally:
            os.kill(server.pid, 15)


@pytest.mark.usefixtures("unsafe_server")
def test_check_refuses_rclone_though_plain_operations_work() -> None:
    script = f"""
from resources.store import StoreUnsafe, open_store
store = open_store("s3://{BUCKET}/desk")
store.write("a/b", b"hello")
assert store.read("a/b").data == b"hello"
assert store.read("a/b", tail=2).data == b"lo"
assert [entry.key for entry in store.list("")] == ["a/b"]
try:
    store.check()
except StoreUnsafe as refusal:
    print(refusal)
assert [entry.key for entry in store.list("")] == ["a/b"]
"""
    # In a process of its own: this one's S3 is simulated.
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert "ignores conditional writes (If-None-Match): two writers could overwrite each other" in done.stdout
    assert "refuses to trade" in done.stdout
