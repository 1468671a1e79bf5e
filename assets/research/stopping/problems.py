"""Stopping problems: which states follow which, and what stopping pays (arXiv 1804.05394, section 1 and 4).

A problem is stopped once at one of the dates 0..N; at N it is stopped in any case. States are float32 rows, so that a
hundred thousand paths fit; values are summed in float64 by those who average them. Nothing here draws random numbers:
``advance`` is handed standard normal noise, so that the same seed gives the same paths whoever simulates.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numba import njit

from assets.research.bad_input import BadInput, Floats, finite

States = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class StoppingProblem(Protocol):
    """What the networks, the regression and the two bounds need to know. Arrays have one row a path.

    - ``initial``: (count, columns) states at date 0, from (count, ``initial_noise``) standard normals. With
      ``initial_noise`` 0 all paths start alike, and the decision at date 0 is one number.
    - ``advance``: states at ``date`` + 1 from those at ``date`` and (count, ``noise``) standard normals.
    - ``payoff``: (count,) what stopping at ``date`` pays, in the problem's unit, as seen from date 0.
    - ``open_to_stop``: where stopping may be right at all; elsewhere one continues, and nothing is trained.
    - ``features``: (count, F) network inputs, the payoff among them, before standardisation.
    - ``regressors``: (count, R) of the regression, without a constant.
    - ``hedge_prices``: (count, M) processes without drift: E[price at a stopping time | now] = price now.
    - ``hedge_gains``: their changes from ``state`` on, in an order that means the same on each path. Their mean is
      zero given ``state``, so a multiple of them takes noise away from an average and leaves its expectation alone.
    """

    @property
    def dates(self) -> int: ...
    @property
    def noise(self) -> int: ...
    @property
    def initial_noise(self) -> int: ...
    def initial(self, noise: States) -> States: ...
    def advance(self, state: States, date: int, noise: States) -> States: ...
    def payoff(self, state: States, date: int) -> Floats: ...
    def open_to_stop(self, state: States, date: int, payoff: Floats) -> Mask: ...
    def features(self, state: States, date: int, payoff: Floats) -> States: ...
    def regressors(self, state: States, date: int, payoff: Floats) -> Floats: ...
    def hedge_prices(self, state: States, date: int) -> Floats: ...
    def hedge_gains(self, state: States, now: Floats, later: Floats) -> Floats: ...
    def document(self) -> dict[str, Any]: ...


@njit(cache=True)
def _sorted_rows(values):  # type: ignore[no-untyped-def]
    """Rows in falling order: an insertion sort, which beats a general sort on a handful of columns."""
    out = np.empty_like(values)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            value = values[row, column]
            place = column
            while place > 0 and out[row, place - 1] < value:
                out[row, place] = out[row, place - 1]
                place -= 1
            out[row, place] = value
    return out


@dataclass(frozen=True)
class MaxCall:
    """Bermudan call on the dearest of several assets: e^{-r t} (max_i S_i - strike)^+, t = date * maturity / dates.

    The S_i are independent geometric Brownian motions with dividend yield (paper 4.1). State: log S_i. Rates and
    volatilities per year, maturity in years, prices and payoff in one currency. Equal volatilities make the assets
    interchangeable, so the features are then the prices in falling order; else they keep their places.
    Raises BadInput where a parameter is no finite number or out of range.
    """

    spot: float
    volatilities: tuple[float, ...]
    strike: float
    rate: float
    dividend: float
    maturity: float
    dates: int

    def __post_init__(self) -> None:
        _numbers(self)
        for name in ("spot", "strike", "maturity"):
            _positive(getattr(self, name), name)
        if not self.volatilities:
            raise BadInput("at least one asset is needed", column="volatilities")
        for index, volatility in enumerate(self.volatilities):
            if volatility <= 0:
                raise BadInput(f"{volatility} is not positive", column="volatilities", at=index)
        _at_least_one(self.dates)

    @classmethod
    def symmetric(cls, assets: int, spot: float) -> "MaxCall":
        """The paper's standard case: r 5 %, dividends 10 %, volatility 20 %, strike 100, 3 years, dates 0..9."""
        return cls(spot, (0.2,) * assets, 100.0, 0.05, 0.10, 3.0, 9)

    @classmethod
    def asymmetric(cls, assets: int, spot: float) -> "MaxCall":
        """The same with volatilities 8..40 % evenly spread (2 to 5 assets), or 10 % + i/(2d) for more."""
        if assets < 2:
            raise BadInput(f"{assets} assets cannot differ", column="assets")
        spread = [
            0.08 + 0.32 * index / (assets - 1) if assets <= 5 else 0.1 + (index + 1) / (2 * assets)
            for index in range(assets)
        ]
        return cls(spot, tuple(spread), 100.0, 0.05, 0.10, 3.0, 9)

    @property
    def noise(self) -> int:
        return len(self.volatilities)

    @property
    def initial_noise(self) -> int:
        return 0

    @cached_property
    def _interchangeable(self) -> bool:
        return len({*self.volatilities}) == 1

    @cached_property
    def _step(self) -> tuple[States, States]:
        """Drift and standard deviation of a log price from one date to the next."""
        sigma, years = np.array(self.volatilities), self.maturity / self.dates
        drift = (self.rate - self.dividend - sigma**2 / 2) * years
        return drift.astype(np.float32), (sigma * np.sqrt(years)).astype(np.float32)

    def initial(self, noise: States) -> States:
        return np.full((len(noise), len(self.volatilities)), np.log(self.spot), np.float32)

    def advance(self, state: States, date: int, noise: States) -> States:  # noqa: ARG002 - each step is alike
        drift, deviation = self._step
        return state + drift + deviation * noise

    def payoff(self, state: States, date: int) -> Floats:
        discount = np.exp(-self.rate * self.maturity * date / self.dates)
        dearest = np.exp(state.max(axis=1).astype(np.float64))
        return np.asarray(discount * np.maximum(dearest - self.strike, 0))

    def open_to_stop(self, state: States, date: int, payoff: Floats) -> Mask:  # noqa: ARG002
        return payoff > 0

    def features(self, state: States, date: int, payoff: Floats) -> States:  # noqa: ARG002
        logs = state - np.float32(np.log(self.strike))
        columns = [_sorted_rows(logs), payoff.astype(np.float32)]
        return np.column_stack(columns if self._interchangeable else [logs, *columns])

    def regressors(self, state: States, date: int, payoff: Floats) -> Floats:  # noqa: ARG002
        """Order statistics: the six dearest, their squares, neighbouring products, cubes of the first two, the mean and
        the spread of all, the payoff; for unlike assets also each price and its square."""
        prices = np.exp(state.astype(np.float64)) / self.strike
        top = _sorted_rows(prices)[:, :6]
        columns = [top, top**2, top[:, :1] * top[:, 1:4], top[:, 1:2] * top[:, 2:4], top[:, :2] ** 3]
        columns += [prices.mean(axis=1, keepdims=True), prices.std(axis=1, keepdims=True), payoff[:, None]]
        if not self._interchangeable:
            columns += [prices, prices**2]
        return np.column_stack(columns)

    def hedge_prices(self, state: States, date: int) -> Floats:
        """Discounted reinvested prices, and their squares made free of drift."""
        years = self.maturity * date / self.dates
        prices = np.exp(state.astype(np.float64) - (self.rate - self.dividend) * years)
        squares = prices**2 * np.exp(-(np.array(self.volatilities) ** 2) * years)
        return np.column_stack([prices, squares / self.strike])

    def hedge_gains(self, state: States, now: Floats, later: Floats) -> Floats:
        gains = later - now
        if not self._interchangeable:
            return gains
        rank, assets = np.argsort(-state, axis=1), state.shape[1]
        return np.take_along_axis(gains, np.column_stack([rank, rank + assets]), axis=1)

    def document(self) -> dict[str, Any]:
        return {"problem": "max call", **asdict(self)}


@dataclass(frozen=True)
class FractionalBrownianMotion:
    """Stopping of a fractional Brownian motion W^H itself on t = date/dates in [0, 1] (paper 4.3); the payoff is W.

    State at date n: the path (W_1, ..., W_n), which grows by a column a date (at date 0 it has none). The next value
    given the path is normal with the exact conditional mean and variance of the covariance
    (s^{2H} + t^{2H} - |t - s|^{2H}) / 2. Features: the value and six of its conditional means ahead, which sum
    up what the past says about the future; the whole path, which the paper feeds in, was learnt from far more slowly.
    ``hurst`` in (0, 1]; BadInput else.
    """

    hurst: float
    dates: int

    def __post_init__(self) -> None:
        _numbers(self)
        if not 0 < self.hurst <= 1:
            raise BadInput(f"{self.hurst} is not in (0, 1]", column="hurst")
        _at_least_one(self.dates)

    @property
    def noise(self) -> int:
        return 1

    @property
    def initial_noise(self) -> int:
        return 0

    @cached_property
    def _conditionals(self) -> list[tuple[States, np.float32]]:
        """By date n: the weights (n, N - n) of the path in the mean of each later value, and the standard deviation of
        the next value about its mean."""
        times = np.arange(1, self.dates + 1) / self.dates
        early, late, power = times[:, None], times[None, :], 2 * self.hurst
        covariance = (early**power + late**power - np.abs(early - late) ** power) / 2
        laws = []
        for known in range(self.dates):
            # Least squares, because at H = 1 the path is a straight line and the covariance has rank one.
            weights = np.linalg.lstsq(covariance[:known, :known], covariance[:known, known:], rcond=1e-12)[0]
            left = covariance[known, known] - weights[:, 0] @ covariance[:known, known]
            laws.append((weights.astype(np.float32), np.float32(np.sqrt(left if left > 1e-12 else 0))))
        return laws

    def initial(self, noise: States) -> States:
        return np.empty((len(noise), 0), np.float32)

    def advance(self, state: States, date: int, noise: States) -> States:
        weights, deviation = self._conditionals[date]
        return np.column_stack([state, state @ weights[:, 0] + deviation * noise[:, 0]])

    def payoff(self, state: States, date: int) -> Floats:
        return state[:, -1].astype(np.float64) if date else np.zeros(len(state))

    def open_to_stop(self, state: States, date: int, payoff: Floats) -> Mask:  # noqa: ARG002
        return np.ones(len(state), bool)

    def _expected(self, state: States, date: int) -> States:
        """(count, 6) conditional means of the values 1, 2, 5, 10, 25 and all dates ahead, at most N - n."""
        weights, left = self._conditionals[date][0], self.dates - date
        return state @ weights[:, [min(ahead, left) - 1 for ahead in (1, 2, 5, 10, 25, left)]]

    def features(self, state: States, date: int, payoff: Floats) -> States:
        return np.column_stack([payoff.astype(np.float32), self._expected(state, date)])

    def regressors(self, state: States, date: int, payoff: Floats) -> Floats:
        """The value now and the expected ones, whole and positive parts."""
        seen = np.column_stack([payoff, self._expected(state, date)])
        return np.column_stack([seen, np.maximum(seen, 0)])

    def hedge_prices(self, state: States, date: int) -> Floats:  # noqa: ARG002
        return np.empty((len(state), 0))

    def hedge_gains(self, state: States, now: Floats, later: Floats) -> Floats:  # noqa: ARG002
        return later - now

    def document(self) -> dict[str, Any]:
        return {"problem": "fractional Brownian motion", **asdict(self)}


@dataclass(frozen=True)
class PositionState:
    """A held position at 00:00 UTC of a day, seen from the position: a short's gain is positive too.

    unrealised_return: return since entry as a fraction of the notional at entry; daily_volatility: of one day's log
    return, as a fraction; forecast: expected return of the next day in the position's favour, as a fraction.
    """

    unrealised_return: float
    daily_volatility: float
    forecast: float

    def __post_init__(self) -> None:
        _numbers(self)
        _positive(self.daily_volatility, "daily_volatility")


@dataclass(frozen=True)
class PositionExit:
    """When to leave a position held for at most ``dates`` days: decisions on days 0..dates-1, out on the last day.

    The simulator is a fitted model, because an upper bound needs one: with recorded paths alone the lower bound would
    be a backtest and the upper bound would not exist. Daily log volatility h and the forecast f (the expected daily
    return in the position's favour) are autoregressions, the return of day n has volatility e^{h_n}:

        r_{n+1} = f_n + e^{h_n} z,   h_{n+1} = mean + persistence (h_n - mean) + vol_of_log_vol w,   corr(z, w)
        f_{n+1} = forecast_mean + forecast_persistence (f_n - forecast_mean) + forecast_noise v

    Stopping on day n pays, in fractions of the notional at entry and from entry on,

        sum_{m<=n} r_m - (risk_aversion/2) sum_{m<n} e^{2 h_m} - funding n - exit_cost e^{h_n} / e^{mean}:

    marked return less a charge for the variance carried, the funding paid a day (negative: received) and the cost of
    leaving, which widens with volatility. A position of a share w of the capital carries, per unit of its notional, w
    times the risk aversion of the whole capital; which w is charged is the caller's choice. A position that has lost
    ``hard_stop`` of its notional at entry at the end of a day is closed at that price, and nothing moves it any more.
    The form of the payoff is our own heuristic; the recursions are the usual discrete stochastic volatility.

    The paths trained on begin from the stationary law of h and f, so that one rule serves any position of the day.
    Features: day/dates, marked return and forecast in units of e^{mean}, and the volatility ratio as h - mean. What
    was charged so far is sunk and no feature. Correlation is that of return (in the position's favour) and volatility.
    Raises BadInput for parameters that are no finite numbers or out of range.
    """

    log_vol_mean: float
    log_vol_persistence: float
    vol_of_log_vol: float
    forecast_mean: float
    forecast_persistence: float
    forecast_noise: float
    correlation: float
    risk_aversion: float
    funding: float
    exit_cost: float
    hard_stop: float
    dates: int = 7

    def __post_init__(self) -> None:
        _numbers(self)
        for name in ("log_vol_persistence", "forecast_persistence"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInput(f"{getattr(self, name)} is not in [0, 1)", column=name)
        for name in ("vol_of_log_vol", "forecast_noise", "risk_aversion", "exit_cost"):
            if getattr(self, name) < 0:
                raise BadInput(f"{getattr(self, name)} is negative", column=name)
        if not -1 <= self.correlation <= 1:
            raise BadInput(f"{self.correlation} is not in [-1, 1]", column="correlation")
        _positive(self.hard_stop, "hard_stop")
        _at_least_one(self.dates)

    @property
    def noise(self) -> int:
        return 3

    @property
    def initial_noise(self) -> int:
        return 2

    def initial(self, noise: States) -> States:
        log_vol = noise[:, 0] * self.vol_of_log_vol / np.sqrt(1 - self.log_vol_persistence**2)
        forecast = noise[:, 1] * self.forecast_noise / np.sqrt(1 - self.forecast_persistence**2)
        nothing = np.zeros(len(noise), np.float32)
        return np.column_stack(
            [nothing, nothing, nothing, log_vol + self.log_vol_mean, forecast + self.forecast_mean]
        ).astype(np.float32)

    def state(self, position: PositionState) -> States:
        """(1, 5): marked return, its unforeseeable part, charges (0: past ones are sunk), log volatility, forecast."""
        log_vol = np.log(position.daily_volatility)
        return np.array([[position.unrealised_return, 0, 0, log_vol, position.forecast]], np.float32)

    def closed(self, state: States) -> Mask:
        """Where the stop has ended the position."""
        return np.asarray(state[:, 0] <= -self.hard_stop)

    def advance(self, state: States, date: int, noise: States) -> States:  # noqa: ARG002 - each day is alike
        marked, shocks, charges, log_vol, forecast = state.T
        volatility = np.exp(log_vol)
        shock = volatility * noise[:, 0]
        charge = self.risk_aversion / 2 * volatility**2 + self.funding
        gust = self.correlation * noise[:, 0] + np.sqrt(1 - self.correlation**2) * noise[:, 1]
        moved = np.column_stack(
            [
                marked + forecast + shock,
                shocks + shock,
                charges + charge,
                self.log_vol_mean
                + self.log_vol_persistence * (log_vol - self.log_vol_mean)
                + self.vol_of_log_vol * gust,
                self.forecast_mean
                + self.forecast_persistence * (forecast - self.forecast_mean)
                + self.forecast_noise * noise[:, 2],
            ]
        ).astype(np.float32)
        return np.where(self.closed(state)[:, None], state, moved)

    def payoff(self, state: States, date: int) -> Floats:  # noqa: ARG002 - the charges know the date
        marked, _, charges, log_vol, _ = state.T.astype(np.float64)
        return np.asarray(marked - charges - self.exit_cost * np.exp(log_vol - self.log_vol_mean))

    def open_to_stop(self, state: States, date: int, payoff: Floats) -> Mask:  # noqa: ARG002
        return ~self.closed(state)

    def features(self, state: States, date: int, payoff: Floats) -> States:  # noqa: ARG002
        unit = np.float32(np.exp(self.log_vol_mean))
        day = np.full(len(state), date / self.dates, np.float32)
        return np.column_stack(
            [day, state[:, 0] / unit, state[:, 3] - np.float32(self.log_vol_mean), state[:, 4] / unit]
        )

    def regressors(self, state: States, date: int, payoff: Floats) -> Floats:
        """Cubic polynomials without constant of marked return, volatility ratio and forecast."""
        _, marked, ratio, forecast = self.features(state, date, payoff).T.astype(np.float64)
        carried = np.exp(2 * ratio)
        columns = [marked, ratio, forecast, carried, marked**2, ratio**2, forecast**2, marked * ratio]
        columns += [
            marked * forecast,
            ratio * forecast,
            marked**3,
            forecast**3,
            carried * forecast,
            forecast**2 * ratio,
        ]
        return np.column_stack(columns)

    def hedge_prices(self, state: States, date: int) -> Floats:  # noqa: ARG002
        """The unforeseeable part of the marked return, by far the largest noise in it."""
        return state[:, 1:2].astype(np.float64)

    def hedge_gains(self, state: States, now: Floats, later: Floats) -> Floats:  # noqa: ARG002
        return later - now

    def document(self) -> dict[str, Any]:
        return {"problem": "position exit", **asdict(self)}


def _numbers(values: Any) -> None:
    """BadInput at the first field of a dataclass that is no finite number (or holds one that is not)."""
    for name, value in asdict(values).items():
        if isinstance(value, tuple):
            finite(value, name)
        elif not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise BadInput(f"{value!r} is not a finite number", column=name)


def _positive(value: float, name: str) -> None:
    if value <= 0:
        raise BadInput(f"{value} is not positive", column=name)


def _at_least_one(dates: int) -> None:
    if dates < 1:
        raise BadInput(f"{dates} dates are too few, at least 1 is needed", column="dates")
