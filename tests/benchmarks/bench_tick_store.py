"""Whether a tick costs the same after five years of minutes as on the first day, in a folder and on S3.

The two desks, one with an empty log and one with a long one, tick in turn at the same minutes, so that whatever else
the machine does disturbs both. S3 is a simulated one in a process of its own: what it spends is not the client's.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session

from assets.accounting.events import Fill
from assets.accounting.pnl import Valuation
from assets.desk.artifacts import PORTFOLIO_VALUE_LOG
from assets.desk.desk import Desk, paper_venue
from assets.desk.tick import Ticker
from assets.desk.value_log import MINUTE, MarksRow, log_row
from resources.clock import ManualClock
from resources.documents import dump_line
from resources.market import Book, FundingRate, Mark, MarketError
from resources.settings import Settings
from resources.store import Store, open_store
from tests.benchmarks.figure import Figure
from tests.faults.s3_server import BUCKET, s3_process

FIVE_YEARS = 5 * 365 * 1440
POSITIONS = 200
MARKS = 700
LOCAL_TICKS = 61
S3_TICKS = 5
# Just under the 5 MiB below which S3 copies no part, so that such a log is sent whole: the costliest length.
SHORT_DAYS = 11

_NOW = datetime(2026, 1, 15, 12, 20, tzinfo=UTC)
_DAY = 1440
_NAMES = [f"C{number:03d}USDT" for number in range(MARKS)]


class ScriptedMarket:
    """``MARKS`` marks, prepared before the clock runs: the market's own work is no part of a tick's cost."""

    name = "SCRIPTED"

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}

    def prepare(self, at: datetime) -> None:
        wave = at.minute
        self._marks = {
            name: Mark(name, Decimal(100_000 + 37 * number + wave * (number % 11 - 5)).scaleb(-3), at)
            for number, name in enumerate(_NAMES)
        }

    def marks(self, at: datetime) -> Mapping[str, Mark]:  # noqa: ARG002  prepared for this instant
        return self._marks

    def exchange_info(self, at: datetime) -> bytes:
        raise MarketError(f"nothing trades here, asked at {at}")

    def liquidity(self, symbol: str, at: datetime) -> Book | None:  # noqa: ARG002
        return None

    def funding(
        self,
        symbols: Collection[str],  # noqa: ARG002
        after: datetime,  # noqa: ARG002
        until: datetime,  # noqa: ARG002
    ) -> list[FundingRate]:
        return []


@dataclass
class Costs:
    """What each tick of one desk took of the client: bytes sent or written, CPU and wall seconds, requests."""

    sent: list[int] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)


@dataclass
class Traffic:
    """Running totals of what this process sent."""

    sent: int = 0
    requests: int = 0


def measure(fast: bool = False) -> list[Figure]:
    minutes = 90 * _DAY if fast else FIVE_YEARS
    with tempfile.TemporaryDirectory() as scratch:
        empty, years = Path(scratch) / "empty", Path(scratch) / "years"
        years.mkdir()
        with (years / PORTFOLIO_VALUE_LOG).open("wb") as log:
            for part in log_parts(minutes):
                log.write(part)
        local = compare([open_store(str(empty)), open_store(str(years))], LOCAL_TICKS, written())
    with s3_process(), counted_requests() as traffic:
        fill_bucket(minutes, f"years/{PORTFOLIO_VALUE_LOG}")
        fill_bucket(SHORT_DAYS * _DAY, f"days/{PORTFOLIO_VALUE_LOG}")
        stores = [open_store(f"s3://{BUCKET}/{name}") for name in ("empty", "years", "days")]
        for store in stores:
            store.check()  # as the desk does when it opens: what the server can do is found out here, not in a tick
        remote = compare(stores, S3_TICKS, lambda: Traffic(traffic.sent, traffic.requests))
    figures = _figures("local, 5 years", local[0], local[1])
    figures += _figures("S3, 5 years", remote[0], remote[1])
    return figures + _figures(f"S3, {SHORT_DAYS} days", remote[0], remote[2])


def _figures(log: str, empty: Costs, long: Costs) -> list[Figure]:
    def ratio(what: str, of: Callable[[Costs], list[Any]], shown: Callable[[float], str], target: str) -> Figure:
        first, last = (statistics.median(of(costs)) for costs in (empty, long))
        measured = f"{last / first:.2f}x ({shown(first)} -> {shown(last)})"
        return Figure(f"tick, {log} of minutes against an empty log: {what}", measured, target)

    def milliseconds(seconds: float) -> str:
        return f"{seconds * 1e3:.1f} ms"

    figures = [
        ratio("bytes sent", lambda c: c.sent, lambda sent: f"{sent / 1e3:.0f} KB", "<= 1.2x"),
        ratio("client CPU", lambda c: c.cpu, milliseconds, "<= 1.2x"),
        # On S3 without a target: the simulated server copies the log through its own memory, which takes it seconds.
        ratio("wall time", lambda c: c.wall, milliseconds, "<= 1.2x" if log.startswith("local") else ""),
    ]
    if sum(long.requests):
        figures.append(ratio("requests", lambda c: c.requests, lambda count: f"{count:.0f}", ""))
    return figures


def compare(stores: Sequence[Store], ticks: int, traffic: Callable[[], Traffic]) -> list[Costs]:
    """Tick a desk on each store in turn, ``ticks`` times after one to warm up."""
    clock, market = ManualClock(_NOW), ScriptedMarket()
    market.prepare(_NOW)
    desks = []
    for store in stores:
        settings = Settings(store=store.url)
        desk = Desk(settings, store, market, clock, paper_venue(settings))
        desk.ledger().post(opening_fills())
        desks.append((Ticker(desk), Costs()))
    for number in range(ticks + 1):
        clock.move_to(_NOW + number * MINUTE)
        market.prepare(clock.now())
        for ticker, costs in desks:
            before, cpu, wall = traffic(), time.process_time(), time.perf_counter()
            result = ticker.tick()
            cpu, wall, after = time.process_time() - cpu, time.perf_counter() - wall, traffic()
            if result.status != "logged":
                raise AssertionError(f"the tick at {clock.now()} was not logged: {result.status} {result.reason}")
            if number:
                costs.sent.append(after.sent - before.sent)
                costs.requests.append(after.requests - before.requests)
                costs.cpu.append(cpu)
                costs.wall.append(wall)
    return [costs for _, costs in desks]


def opening_fills() -> list[Fill]:
    """``POSITIONS`` positions, long and short."""
    return [
        Fill(
            event_id=f"fill:{number}",
            time=_NOW - timedelta(hours=1),
            symbol=_NAMES[number],
            quantity=Decimal(number % 7 + 1) * (1 if number % 2 else -1),
            price=Decimal(100),
            fee=Decimal("0.05"),
            order_id=f"order:{number}",
            rebalance_id="bench",
            strategies={"bench": Decimal(1)},
        )
        for number in range(POSITIONS)
    ]


def log_parts(minutes: int) -> Iterator[bytes]:
    """A log of ``minutes`` rows that ends a minute before now, in parts of a day.

    All parts but the last are one part repeated: nothing reads their dates, and five years are written in a second.
    """
    whole, rest = divmod(minutes, _DAY)
    assert not rest, "whole days"
    repeated = _day_of_rows(_NOW - timedelta(days=minutes // _DAY), 0)
    for _ in range(whole - 1):
        yield repeated
    yield _day_of_rows(_NOW - _DAY * MINUTE, minutes - _DAY)


def _day_of_rows(first: datetime, seq: int) -> bytes:
    rows = []
    for number in range(_DAY):
        pnl = Decimal(12_345_678_901 + number).scaleb(-6)
        value = Valuation(Decimal(1_000_000) + pnl, pnl, pnl, Decimal("0.000000"), Decimal("0.000000"))
        marks = MarksRow(first + number * MINUTE, {}, {}, (), 1)
        rebalance = "tbl_eod_targets_20260114-2355-0123456789ab"
        rows.append(dump_line(log_row(marks, value, seq=seq + number, rebalance_id=rebalance, source="SCRIPTED")))
    return b"\n".join(rows) + b"\n"


def written() -> Callable[[], Traffic]:
    """Bytes this process handed to the system to write, as Linux counts them."""
    counters = Path("/proc/self/io")
    if not counters.exists():
        raise RuntimeError("bytes written are counted by /proc/self/io, which only Linux has")

    def now() -> Traffic:
        fields = dict(line.split(": ") for line in counters.read_text().splitlines())
        return Traffic(sent=int(fields["wchar"]))

    return now


@contextmanager
def counted_requests() -> Iterator[Traffic]:
    """Counts what botocore sends, retries included: request line, headers and body."""
    traffic, send = Traffic(), URLLib3Session.send

    def counting(session: URLLib3Session, request: AWSPreparedRequest) -> Any:
        headers = sum(len(f"{name}: {value}\r\n") for name, value in request.headers.items())
        body = request.body or b""
        traffic.sent += len(f"{request.method} {request.url}\r\n\r\n") + headers
        traffic.sent += (
            len(body) if isinstance(body, bytes | bytearray | str) else int(request.headers["Content-Length"])
        )
        traffic.requests += 1
        return send(session, request)

    URLLib3Session.send = counting
    try:
        yield traffic
    finally:
        URLLib3Session.send = send


def fill_bucket(minutes: int, key: str) -> None:
    """Put the log of ``minutes`` rows at ``key``; the repeated days are copied within the server."""
    client = boto3.client("s3")
    days = list(log_parts(minutes))
    month = b"".join(days[:30])  # S3 takes no part below 5 MiB
    if len(days) < 60:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"".join(days))
        return
    client.put_object(Bucket=BUCKET, Key="month", Body=month)
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    where = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    months = (len(days) - 1) // 30
    copied = [
        client.upload_part_copy(**where, PartNumber=number, CopySource={"Bucket": BUCKET, "Key": "month"})
        for number in range(1, months + 1)
    ]
    rest = client.upload_part(**where, PartNumber=months + 1, Body=b"".join(days[months * 30 :]))
    etags = [*(answer["CopyPartResult"]["ETag"] for answer in copied), rest["ETag"]]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
