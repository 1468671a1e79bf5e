"""The trained decisions: one small network a date, evaluated without the library that trained it.

Soft decision F = sigmoid(a3 . relu(a2 . relu(a1 . z))) in (0, 1), hard decision 1{F >= 1/2}
(arXiv 1804.05394, section 2.2).
The inputs z are standardised by means and deviations that are fixed before a network is trained. The paper normalises
each batch instead; fixed numbers do the same for inputs of such different sizes, and an evaluation cannot depend on
which paths it is evaluated with.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from assets.research.bad_input import BadInput, Floats
from assets.research.stopping.problems import Mask, States, StoppingProblem

_FORMAT = 1

ROUNDING = 1e-5
"""An input that varies less than this is a constant in float32, whose rounding must not be blown up to size one. The
inputs of all problems are ratios of order one, or prices."""

Arrays = Mapping[str, npt.NDArray[Any]]


class Network(NamedTuple):
    """Weights of one date: input means and deviations (F,), then three layers of (inputs, outputs) and offsets."""

    means: States
    deviations: States
    weights_1: States
    offsets_1: States
    weights_2: States
    offsets_2: States
    weights_3: States
    offsets_3: States

    def scores(self, features: States) -> States:
        """(count,) what the sigmoid is taken of; at least 0 means stop."""
        hidden = np.maximum((features - self.means) / self.deviations @ self.weights_1 + self.offsets_1, 0)
        hidden = np.maximum(hidden @ self.weights_2 + self.offsets_2, 0)
        return np.asarray((hidden @ self.weights_3 + self.offsets_3)[:, 0])


@dataclass(frozen=True)
class NetworkPolicy:
    """Decisions by network. ``networks`` holds one a date; None where one always continues.

    ``stop_at_start`` is the decision at date 0 of a problem whose paths all start alike: a network has nothing to
    learn there, and the payoff is compared with the sample mean of the continuation. Compared with each path's own
    continuation it would look ahead, and the "lower" bound would exceed the value. None: date 0 has a network.
    """

    problem: StoppingProblem
    networks: tuple[Network | None, ...]
    stop_at_start: bool | None

    def stops(self, date: int, state: States, payoff: Floats) -> Mask:
        """(count,) the hard decisions at ``date`` < N."""
        if date == 0 and self.stop_at_start is not None:
            return np.full(len(state), self.stop_at_start)
        return self._where_open(date, state, payoff) >= 0

    def probability(self, date: int, state: States, payoff: Floats) -> Floats:
        """(count,) the soft decisions: how firmly the network would stop, in [0, 1]. No calibrated probability."""
        if date == 0 and self.stop_at_start is not None:
            return np.full(len(state), float(self.stop_at_start))
        scores = self._where_open(date, state, payoff).astype(np.float64)
        return np.asarray(expit(scores))

    def _where_open(self, date: int, state: States, payoff: Floats) -> States:
        network, open_to_stop = self.networks[date], self.problem.open_to_stop(state, date, payoff)
        scores = np.full(len(state), -np.inf, np.float32)
        if network is not None and open_to_stop.any():
            rows = state[open_to_stop]
            scores[open_to_stop] = network.scores(self.problem.features(rows, date, payoff[open_to_stop]))
        return scores

    def to_bytes(self) -> bytes:
        """An .npz without pickle, readable for ``from_bytes`` with the same problem."""
        start = np.array(-1 if self.stop_at_start is None else int(self.stop_at_start))
        return packed("networks", self.problem.document(), {"start": start, **network_arrays(self.networks)})

    @classmethod
    def from_bytes(cls, problem: StoppingProblem, content: bytes) -> "NetworkPolicy":
        """Raises BadInput where the content is damaged, of another version, or of another problem."""
        arrays = unpacked("networks", problem.document(), content)
        start = int(arrays["start"])
        return cls(problem, networks_in(arrays, problem.dates), None if start < 0 else bool(start))


def network_arrays(networks: tuple[Network | None, ...]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the networks by "date.field", without those that are None."""
    return {
        f"{date}.{name}": array
        for date, network in enumerate(networks)
        if network is not None
        for name, array in network._asdict().items()
    }


def networks_in(arrays: Arrays, dates: int) -> tuple[Network | None, ...]:
    """The inverse of ``network_arrays``."""
    return tuple(
        Network(*(arrays[f"{date}.{name}"] for name in Network._fields)) if f"{date}.means" in arrays else None
        for date in range(dates)
    )


def packed(kind: str, about: Mapping[str, Any], arrays: Arrays) -> bytes:
    """``arrays`` as .npz, sealed with what they are and what they were made from (``about``, JSON values)."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, seal=np.array(_seal(kind, about, arrays)), **dict(arrays))
    return file.getvalue()


def unpacked(kind: str, about: Mapping[str, Any], content: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of ``packed``. Raises BadInput unless whole and sealed with the same ``kind`` and ``about``."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    # A damaged archive may also claim to be encrypted, or packed in a way that is not supported.
    except (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise BadInput(f"not readable ({error})", column="checkpoint") from None
    if str(arrays.pop("seal", "")) != _seal(kind, about, arrays):
        raise BadInput(f"damaged, of another version, or no {kind} of this problem and setting", column="checkpoint")
    return arrays


def _seal(kind: str, about: Mapping[str, Any], arrays: Arrays) -> str:
    """A digest of all that is stored: an array that went missing would otherwise read as "always continue"."""
    digest = hashlib.sha256(json.dumps({"format": _FORMAT, "kind": kind, **about}, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
