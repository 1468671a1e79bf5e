"""Every setting of the desk, in one typed object read from ``DESK_*`` environment variables.

A misspelt variable is an error, not a silent default.
"""

import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_PREFIX = "DESK_"


class Settings(BaseSettings):
    """Fields are the lower-case names of the variables: ``store`` is ``DESK_STORE``."""

    # An address or a secret that is refused must not stand in the message.
    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    store: str = Field("./desk-data", description="Folder path or s3://bucket/prefix holding everything persistent")
    market: str = Field("simulated", description="simulated, replay:<folder> or binance")
    seed: int = Field(7, description="Seed of the simulated market's paths")
    history: str = Field(
        "", description="simulated, recorded:<folder> or binance; empty means the one that goes with market"
    )
    research_symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        ("BTCUSDT", "ETHUSDT"), description="Symbols research decides on, separated by commas"
    )
    research_history_days: int = Field(
        500, ge=440, description="Days of history walk-forward goes back; with 440 there is always one whole fold"
    )
    walk_forward_workers: int = Field(2, gt=0, description="Processes that compute walk-forward folds side by side")
    fold_executor: Literal["in_process", "multiprocess", "celery"] = Field(
        "in_process", description="What runs the steps of a fold's own run; celery: workers on any machine"
    )
    celery_broker: str = Field("", repr=False, description="redis:// or rediss:// address of the workers' queue")
    feed: str = Field(
        "simulated", description="Venues of the paper trader: simulated, recorded:<folder>, live:<venues>"
    )
    arbitrage_capital: Decimal = Field(
        Decimal(20_000), gt=0, description="Starting capital of the paper trader (brief 3)"
    )
    arbitrage_fill_threshold: Decimal = Field(
        Decimal("0.20"), gt=0, le=1, description="Share of the resting depth that must trade before a limit order fills"
    )
    metrics_seconds: int = Field(10, ge=1, le=60, description="Seconds between metric ticks of the paper trader")
    metrics_port: int = Field(0, ge=0, le=65535, description="Loopback port of the Prometheus endpoint; 0: none")
    redis_url: str = Field(
        "", validation_alias="REDIS_URL", repr=False, description="redis:// or rediss:// address of the live streams"
    )
    test_data: Path = Field(Path("../shared/data"), description="Recorded market data for tests and benchmarks")

    initial_capital: Decimal = Field(Decimal(1_000_000), gt=0, description="C0, the capital at inception (brief 0)")
    reporting_currency: str = Field("USDT", description="Quote asset of every traded symbol")
    fee_bps: Decimal = Field(Decimal(5), ge=0, description="Taker fee per fill, basis points of notional")
    slippage_floor_bps: Decimal = Field(Decimal(2), ge=0, description="Least slippage where no book is shown")
    slippage_cap_bps: Decimal = Field(Decimal(5), ge=0, description="Most slippage where no book is shown")

    duplicates: Literal["reject", "net"] = Field(
        "reject", description="Two rows of one ticker: quarantine, or net them"
    )
    allow_flat: bool = Field(False, description="Accept a file whose rows are all flat (closes the book)")
    residual: Literal["floor", "largest_remainder"] = Field("floor", description="What to do with rounding left-overs")
    stale_mark_seconds: int = Field(120, gt=0, description="A mark older than this does not size or value afresh")
    untradable_limit: Decimal = Field(
        Decimal("0.10"), description="Abort a rebalance above this share of untradable weight"
    )
    max_rebalance_minutes: int = Field(
        60, gt=0, description="An unfinished rebalance older than this is closed as partial"
    )
    max_attempts: int = Field(3, gt=0, description="Runs a failed rebalance gets before a person must resume it")
    csv_deadline_hours: int = Field(26, gt=0, description="Hours without an executed signal before the alert")

    tick_seconds: int = Field(60, gt=0, le=60, description="Seconds between ticks; the log keeps one row a minute")
    sensor_seconds: int = Field(5, ge=1, description="Seconds between looks at the inbox")

    host: str = Field("127.0.0.1", description="Address the dashboard listens on")
    dagster_host: str = Field("127.0.0.1", description="Address the Dagster UI listens on; it has no login of its own")
    behind_proxy: bool = Field(False, description="Trust the X-Forwarded-* headers of the proxy in front")
    public_origin: str = Field("", description="host[:port] under which browsers reach the dashboard through a proxy")
    dagster_port: int = Field(3000, ge=0, description="Port of the Dagster UI")
    dashboard_port: int = Field(5006, ge=0, description="Port of the dashboard")
    dagster_url: str = Field("", description="Address of the Dagster UI in links; empty means host and port above")
    auth: Literal["bcrypt", "off"] = Field("bcrypt", description="off is accepted on a loopback host only")
    users_file: Path | None = Field(None, description="Lines of <user>:<bcrypt hash>")
    cookie_secret: str = Field("", repr=False, description="Secret that signs login cookies, 32 characters or more")

    @field_validator("market")
    @classmethod
    def _known_market(cls, value: str) -> str:
        if value in ("simulated", "binance") or (value.startswith("replay:") and len(value) > len("replay:")):
            return value
        raise ValueError("is none of simulated, replay:<folder>, binance")

    @field_validator("history")
    @classmethod
    def _known_history(cls, value: str) -> str:
        if value in ("", "simulated", "binance") or (value.startswith("recorded:") and len(value) > len("recorded:")):
            return value
        raise ValueError("is none of simulated, recorded:<folder>, binance")

    @field_validator("feed")
    @classmethod
    def _known_feed(cls, value: str) -> str:
        kind, _, rest = value.partition(":")
        if value == "simulated" or (kind in ("recorded", "live") and rest):
            return value
        raise ValueError("is none of simulated, recorded:<folder>, live:<venue>,<venue>")

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, value: str) -> str:
        if not value or value.startswith(("redis://", "rediss://")):
            return value
        raise ValueError("must begin with redis:// or rediss:// (its value is not shown)")

    @field_validator("research_symbols", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        return tuple(symbol.strip() for symbol in value.split(",")) if isinstance(value, str) else value

    @field_validator("research_symbols")
    @classmethod
    def _distinct_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if (
            not value
            or len(set(value)) < len(value)
            or not all(symbol and symbol == symbol.upper() for symbol in value)
        ):
            raise ValueError("is no list of different symbols such as BTCUSDT,ETHUSDT")
        return value

    @model_validator(mode="after")
    def _auth_off_only_on_loopback(self) -> "Settings":
        if self.auth == "off" and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("DESK_AUTH=off needs a loopback address in DESK_HOST")
        return self

    @model_validator(mode="after")
    def _celery_has_a_broker(self) -> "Settings":
        if self.fold_executor == "celery" and not self.celery_broker.startswith(("redis://", "rediss://")):
            raise ValueError(
                "DESK_FOLD_EXECUTOR=celery needs DESK_CELERY_BROKER, the redis:// address that its workers listen to"
            )
        return self

    @property
    def dagster_address(self) -> str:
        """Where the Dagster UI is reached, without a trailing slash."""
        return (self.dagster_url or f"http://{self.dagster_host}:{self.dagster_port}").rstrip("/")


def variable_names() -> dict[str, str]:
    """The environment variable of every setting. ``REDIS_URL`` keeps the name that others read it by too."""
    return {
        name: str(field.validation_alias or _PREFIX + name.upper()) for name, field in Settings.model_fields.items()
    }


def load_settings() -> Settings:
    """Settings from the environment. Raises ValueError naming any unknown or invalid ``DESK_*`` variable."""
    names = variable_names()
    known = set(names.values())
    unknown = sorted(name for name in os.environ if name.startswith(_PREFIX) and name not in known)
    if unknown:
        raise ValueError(f"unknown settings {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    try:
        return Settings()
    except ValidationError as error:
        # One line each: a value may be a secret, and a page about pydantic helps nobody who sets a variable.
        lines = []
        for refused in error.errors(include_url=False, include_context=False, include_input=False):
            place = "".join(f"{names.get(str(name), name)}: " for name in refused["loc"][:1])
            lines.append(place + refused["msg"].removeprefix("Value error, "))
        raise ValueError("\n".join(lines)) from None
