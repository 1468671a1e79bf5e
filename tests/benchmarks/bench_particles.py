"""Particle filters: a step of the controlled filter, its likelihood beside Kalman's, and the bootstrap filter beside
the ``particles`` library on the same data.

Times are the least of the repeats with the median beside it, on the wall clock, after compilation.
"""

import json
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from assets.research.bad_input import Floats
from assets.research.regime.bootstrap import BootstrapConfig, bootstrap_filter, bootstrap_two_state
from assets.research.regime.kalman import kalman_filter
from assets.research.regime.orcsmc import FilterConfig, RollingFilter
from assets.research.regime.risk_on import fit_latent_model
from assets.research.regime.state_space import StateSpaceModel
from assets.research.regime.two_state import TwoStateChain, forward_filter
from tests.assets.research.regime_models import (
    BETA,
    PHI,
    SIGMA,
    linear_data,
    linear_gaussian,
    stochastic_volatility,
    two_regimes,
    volatility_data,
)
from tests.benchmarks.figure import Figure
from tests.benchmarks.peer_environment import python_with

DAYS, PARTICLES = 365, 1000
_SCRIPT = Path(__file__).parent / "peers" / "run_particles.py"


def measure(fast: bool = False) -> list[Figure]:
    repeats, steps = (10, 40) if fast else (50, 200)
    returns = volatility_data(DAYS, 1)
    model = fit_latent_model(returns)
    fitting = _seconds(lambda: fit_latent_model(returns), 10)
    return [
        _step("1-d stochastic volatility", stochastic_volatility(), returns, steps, "<= 15 ms"),
        _step("risk-on model (2-d)", model.state_space(), returns, steps, ""),
        *(
            _spread(dimension, target, repeats)
            for dimension, target in ((2, "<= 0.02"), (4, "<= 0.06"), (8, "<= 0.08"), (16, "<= 0.15"))
        ),
        *(_diagonal(dimension) for dimension in ((2, 16) if fast else (2, 16, 64))),
        _bootstrap(returns, repeats),
        _two_state(repeats),
        Figure(f"fit of the risk-on model to {DAYS} days", _text(fitting), "<= 300 ms"),
    ]


def _step(what: str, model: StateSpaceModel, data: Floats, steps: int, target: str) -> Figure:
    """After the window has filled."""
    online, took = RollingFilter(model, FilterConfig(), seed=1), []
    for value in data[: 40 + steps]:
        began = time.perf_counter()
        online.step(value)
        took.append(time.perf_counter() - began)
    return Figure(f"controlled filter, {what}, N=1000 L=30 K=5: one step", _text(took[40:]), target)


def _spread(dimension: int, target: str, repeats: int) -> Figure:
    """Standard deviation over seeds of ln Z less Kalman's; the non-diagonal linear Gaussian example."""
    model = linear_gaussian(dimension)
    data = linear_data(model, 100, 100)
    exact, errors, began = kalman_filter(model, data).log_likelihoods[-1], [], time.perf_counter()
    for seed in range(repeats):
        online = RollingFilter(model, FilterConfig(window=4), seed)
        for row in data:
            filtered = online.step(row)
        errors.append(filtered.log_likelihood - exact)
    took = (time.perf_counter() - began) / (100 * repeats)
    return Figure(
        f"ln Z less Kalman's, d={dimension}, L=4, T=100, {repeats} runs: sd",
        f"{np.std(errors, ddof=1):.4f} (mean {np.mean(errors):+.4f}, {took * 1e3:.1f} ms/step)",
        target,
    )


def _diagonal(dimension: int) -> Figure:
    model = linear_gaussian(dimension, diagonal=True)
    data = linear_data(model, 100, 7)
    online = RollingFilter(model, FilterConfig(window=8), seed=1)
    for row in data:
        filtered = online.step(row)
    error = abs(filtered.log_likelihood - kalman_filter(model, data).log_likelihoods[-1])
    return Figure(
        f"|ln Z less Kalman's|, diagonal, d={dimension}, L=8, T=100",
        f"{error:.7f} (ess {filtered.ess:.2f} of 1000)",
        "<= 0.0001",
    )


def _bootstrap(returns: Floats, repeats: int) -> Figure:
    model, config = stochastic_volatility(), BootstrapConfig(PARTICLES)
    ours = _seconds(lambda: bootstrap_filter(model, returns, config, 1), repeats)
    found = [bootstrap_filter(model, returns, config, seed).log_likelihoods[-1] for seed in range(repeats)]
    what = f"bootstrap filter, N={PARTICLES}, T={DAYS}"
    question = {"data": returns.tolist(), "phi": PHI, "sigma": SIGMA, "beta": BETA, "particles": PARTICLES,
                "repeats": repeats}  # fmt: skip
    answer = _ask(question)
    if answer is None:
        return Figure(what, _text(ours), "", "peer not installed")
    theirs, likelihoods = answer["seconds"], answer["log_likelihoods"]
    return Figure(
        f"{what}: times the speed of particles",
        f"{min(theirs) / min(ours):.1f}x ({_text(ours)}; ln Z {_moments(found)})",
        ">= 2x",
        f"particles {_text(theirs)}; ln Z {_moments(likelihoods)}",
    )


def _two_state(repeats: int) -> Figure:
    chain = TwoStateChain(initial_on=2 / 3, stay_on=0.95, turn_on=0.10)
    on, _, logs = two_regimes(chain, 1000, 0.7, seed=5)
    exact, _ = forward_filter(chain, logs)
    runs = np.array([bootstrap_two_state(chain, logs, BootstrapConfig(), seed)[0] for seed in range(repeats)])
    rms = float(np.sqrt(((runs - exact) ** 2).mean()))
    return Figure(
        "two-state particles less the exact filter: root mean square",
        f"{rms:.4f} (on {runs[:, on].mean():.3f} and off {runs[:, ~on].mean():.3f}, "
        f"exact {exact[on].mean():.3f} and {exact[~on].mean():.3f})",
        "<= 0.03",
    )


def _ask(question: dict[str, Any]) -> dict[str, list[float]] | None:
    python = python_with("particles", ["particles==0.4"])
    if python is None:
        return None
    done = subprocess.run([python, _SCRIPT], input=json.dumps(question), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"particles failed:\n{done.stderr[-2000:]}")
    answer: dict[str, list[float]] = json.loads(done.stdout)
    return answer


def _seconds(call: Any, repeats: int) -> list[float]:
    call()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return took


def _text(seconds: list[float]) -> str:
    return f"{min(seconds) * 1e3:.3g} ms, median {median(seconds) * 1e3:.3g}"


def _moments(values: list[float]) -> str:
    return f"{np.mean(values):.2f} sd {np.std(values, ddof=1):.2f}"
