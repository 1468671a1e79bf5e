"""Live Binance USD-M public endpoints. Needs the ``binance`` extra (httpx); no key, nothing is ever ordered.

The exchange answers for the present only: ``at`` cannot reach back, so every mark and book carries the exchange's own
time and the reader judges its age.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from resources.clock import Clock, SystemClock
from resources.documents import load_value
from resources.market import Book, FundingRate, Mark, MarketError

try:
    import httpx
except ImportError as missing:
    raise MarketError("the binance market needs httpx: pip install 'signal-desk[binance]'") from missing

USD_M = "https://fapi.binance.com"
_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
_ATTEMPTS = 3
_BACKOFF_SECONDS = 0.5
# A longer ban than this is reported instead of waited for: the ticker has a minute for everything.
_LONGEST_WAIT = timedelta(seconds=5)
_DEFAULT_BAN = timedelta(seconds=60)
_EXCHANGE_INFO_LIFE = timedelta(minutes=5)
_FUNDING_PAGE = 1000
# The exchange allows 500 funding requests in five minutes; what a call leaves over the next one asks, a minute later.
_FUNDING_REQUESTS = 90
_FUNDING_JITTER = timedelta(minutes=1)
_UNKNOWN_SYMBOL = -1121
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class UnknownSymbolError(MarketError):
    """The exchange does not list the symbol asked for."""


@dataclass(frozen=True, slots=True)
class _Published:
    """The settlements of one symbol with ``after`` < time <= ``until``, as the exchange stated them at ``until``."""

    after: datetime
    until: datetime
    settlements: list[FundingRate]


class BinanceMarket:
    """Marks, filters, books and funding of USD-M futures.

    Every method raises MarketError, naming the endpoint, when the exchange refuses, stays silent (three attempts on
    timeouts and 5xx, 5 s each) or answers something else than documented. After 418 or 429 nothing is sent until
    Retry-After has passed.
    """

    name = "BINANCE"

    def __init__(self, base_url: str = USD_M, client: httpx.Client | None = None, clock: Clock | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = client or httpx.Client(timeout=_TIMEOUT)
        self._clock = clock or SystemClock()
        self._banned_until: datetime | None = None
        self._exchange_info: tuple[datetime, bytes] | None = None
        self._published: dict[str, _Published] = {}
        # By symbol, from the marks: when it settles next, and when it should have settled last.
        self._next_settlement: dict[str, datetime] = {}
        self._last_settlement: dict[str, datetime] = {}

    def marks(self, at: datetime) -> Mapping[str, Mark]:  # noqa: ARG002  the exchange only knows the present
        """Every contract's mark price, delivery contracts too; rows without a price are left out."""
        endpoint = "/fapi/v1/premiumIndex"
        answer = parsed(endpoint, self._get(endpoint))
        try:
            for row in answer:
                self._expect_settlement(row["symbol"], _instant(row["time"]), _instant(row["nextFundingTime"]))
            return {
                row["symbol"]: Mark(row["symbol"], Decimal(row["markPrice"]), _instant(row["time"]))
                for row in answer
                if row["markPrice"] != ""
            }
        except MALFORMED as error:
            raise unexpected(endpoint, error) from error

    def exchange_info(self, at: datetime) -> bytes:
        """The newest exchange-info bytes, fetched at most once in five minutes of ``at``."""
        if self._exchange_info is not None:
            fetched, data = self._exchange_info
            if timedelta(0) <= at - fetched < _EXCHANGE_INFO_LIFE:
                return data
        endpoint = "/fapi/v1/exchangeInfo"
        data = self._get(endpoint)
        answer = parsed(endpoint, data)
        if not isinstance(answer, dict) or not isinstance(answer.get("symbols"), list):
            raise unexpected(endpoint, "no list of symbols")
        self._exchange_info = (at, data)
        return data

    def liquidity(self, symbol: str, at: datetime) -> Book | None:  # noqa: ARG002  as for marks
        """The best 100 levels a side; None for a symbol the exchange does not list."""
        endpoint = "/fapi/v1/depth"
        try:
            data = self._get(endpoint, symbol=symbol, limit=100)
        except UnknownSymbolError:
            return None
        answer = parsed(endpoint, data)
        try:
            bids, asks = (
                tuple((Decimal(price), Decimal(quantity)) for price, quantity in answer[side])
                for side in ("bids", "asks")
            )
            return Book(symbol, bids, asks, _instant(answer["T"]))
        except MALFORMED as error:
            raise unexpected(endpoint, error) from error

    def funding(self, symbols: Collection[str], after: datetime, until: datetime) -> list[FundingRate]:
        """Published settlements page by page. Delivery contracts have none, whatever premiumIndex shows for them.

        A symbol whose marks were read is asked for again only when it may have settled since. Raises MarketError when
        more symbols are to be asked for than the exchange allows in a minute; the next call goes on from there.
        """
        wanted = sorted(set(symbols))
        unasked = [symbol for symbol in wanted if self._is_unasked(symbol, after, until)]
        late = [symbol for symbol in wanted if symbol not in unasked and self._is_late(symbol, after, until)]
        for symbol in (*unasked, *late)[:_FUNDING_REQUESTS]:
            self._published[symbol] = _Published(after, until, self._settlements(symbol, after, until))
        if len(unasked) > _FUNDING_REQUESTS:
            left = len(unasked) - _FUNDING_REQUESTS
            raise MarketError(
                f"binance: {_FUNDING_REQUESTS} funding requests made, {left} symbols left for the next look"
            )
        settlements = [
            settlement
            for symbol in wanted
            for settlement in self._published[symbol].settlements
            if after < settlement.time <= until
        ]
        return sorted(settlements, key=lambda settlement: (settlement.time, settlement.symbol))

    def _expect_settlement(self, symbol: str, now: datetime, following: datetime) -> None:
        """Take in when ``symbol`` settles next (1970 for a delivery contract, which never does)."""
        before = self._next_settlement.get(symbol)
        if before is None:
            # Settlements fall on whole hours: the last one may have passed just before this process began.
            self._last_settlement[symbol] = now.replace(minute=0, second=0, microsecond=0)
        elif following > before:
            self._last_settlement[symbol] = before
        self._next_settlement[symbol] = following

    def _last_due(self, symbol: str, until: datetime) -> datetime:
        following = self._next_settlement[symbol]
        return following if _UNIX_EPOCH < following <= until else self._last_settlement[symbol]

    def _is_unasked(self, symbol: str, after: datetime, until: datetime) -> bool:
        """Whether the exchange has not been asked about all of the time span, as far as settlements were due in it.

        Without marks nothing is known of when a symbol settles, and the exchange is asked each time.
        """
        published = self._published.get(symbol)
        if published is None or symbol not in self._next_settlement or published.after > after:
            return True
        return until < published.until or published.until < self._last_due(symbol, until)

    def _is_late(self, symbol: str, after: datetime, until: datetime) -> bool:
        """Whether the last settlement due was not published when asked for, and it is time to ask again: after ever
        longer pauses (one minute, two, four ...)."""
        published, due = self._published[symbol], self._last_due(symbol, until)
        if due <= after or any(settlement.time > due - _FUNDING_JITTER for settlement in published.settlements):
            return False
        return until - published.until >= max(_FUNDING_JITTER, published.until - due)

    def _settlements(self, symbol: str, after: datetime, until: datetime) -> list[FundingRate]:
        endpoint = "/fapi/v1/fundingRate"
        settlements: list[FundingRate] = []
        start, end = milliseconds(after), milliseconds(until)
        while start <= end:
            try:
                data = self._get(endpoint, symbol=symbol, startTime=start, endTime=end, limit=_FUNDING_PAGE)
            except UnknownSymbolError:
                return []
            answer = parsed(endpoint, data)
            try:
                page = [_settlement(row) for row in answer]
            except MALFORMED as error:
                raise unexpected(endpoint, error) from error
            settlements += [row for row in page if row.symbol == symbol and after < row.time <= until]
            if len(page) < _FUNDING_PAGE:
                break
            following = milliseconds(max(row.time for row in page)) + 1
            if following <= start:
                raise unexpected(endpoint, f"a full page of {symbol} that ends before {start}")
            start = following
        return settlements

    def _get(self, endpoint: str, **parameters: str | int) -> bytes:
        """The body of a 200 answer."""
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._clock.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
            self._wait_out_ban(endpoint)
            try:
                response = self._client.get(self._base_url + endpoint, params=parameters)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if response.status_code in (418, 429):
                self._banned_until = self._clock.now() + _retry_after(response)
                problem = f"rate limit, HTTP {response.status_code}"
            elif response.status_code >= 500:
                problem = f"HTTP {response.status_code}"
            elif response.status_code == 200:
                return response.content
            else:
                raise _refusal(endpoint, response)
        raise MarketError(f"binance {endpoint}: no answer after {_ATTEMPTS} attempts ({problem})")

    def _wait_out_ban(self, endpoint: str) -> None:
        if self._banned_until is None:
            return
        wait = self._banned_until - self._clock.now()
        if wait > _LONGEST_WAIT:
            until = self._banned_until.isoformat(timespec="seconds")
            raise MarketError(f"binance {endpoint}: rate limited until {until}, nothing sent")
        self._clock.sleep(wait.total_seconds())
        self._banned_until = None


# What taking an answer of another form apart raises.
MALFORMED = (KeyError, TypeError, ValueError, InvalidOperation, OverflowError)


def parsed(endpoint: str, data: bytes) -> Any:
    """The JSON of an answer, its fractions exact. Raises MarketError for what is none."""
    try:
        return load_value(data)
    except ValueError as error:
        raise unexpected(endpoint, f"not JSON: {data[:80]!r}") from error


def _settlement(row: Mapping[str, Any]) -> FundingRate:
    mark = row["markPrice"]
    return FundingRate(
        symbol=row["symbol"],
        time=_instant(row["fundingTime"]),
        rate=Decimal(row["fundingRate"]),
        mark=Decimal(mark) if mark else None,
    )


def unexpected(endpoint: str, problem: object) -> MarketError:
    """The error for an answer of another form than documented."""
    return MarketError(f"binance {endpoint}: unexpected answer: {problem!r}")


def _refusal(endpoint: str, response: httpx.Response) -> MarketError:
    """The exchange's own {code, msg} as an error."""
    message = f"binance {endpoint}: HTTP {response.status_code}: {response.text[:200]}"
    try:
        code = response.json()["code"]
    except (ValueError, KeyError, TypeError):
        code = None
    return UnknownSymbolError(message) if code == _UNKNOWN_SYMBOL else MarketError(message)


def _retry_after(response: httpx.Response) -> timedelta:
    """The Retry-After header in seconds; a minute where the exchange gives none that can be read."""
    text = response.headers.get("Retry-After", "")
    return timedelta(seconds=int(text)) if text.isdecimal() else _DEFAULT_BAN


def _instant(stamp: int) -> datetime:
    return _UNIX_EPOCH + stamp * _MILLISECOND


def milliseconds(instant: datetime) -> int:
    """``instant`` as the exchange stamps time."""
    return (instant - _UNIX_EPOCH) // _MILLISECOND
