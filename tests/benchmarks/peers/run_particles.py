"""The bootstrap filter of the ``particles`` library on the stochastic volatility data read from stdin.

Runs in an environment of its own, started by ``bench_particles``; answers in JSON on stdout: seconds and ln Z of each
run.
"""

import json
import sys
import time

import particles
from particles import distributions, state_space_models


class Volatility(state_space_models.StateSpaceModel):
    def PX0(self):  # noqa: N802
        return distributions.Normal(scale=self.sigma / (1 - self.phi**2) ** 0.5)

    def PX(self, t, xp):  # noqa: ARG002, N802
        return distributions.Normal(loc=self.phi * xp, scale=self.sigma)

    def PY(self, t, xp, x):  # noqa: ARG002, N802
        return distributions.Normal(scale=self.beta * distributions.np.exp(0.5 * x))


def main() -> None:
    question = json.load(sys.stdin)
    model = Volatility(phi=question["phi"], sigma=question["sigma"], beta=question["beta"])
    seconds, log_likelihoods = [], []
    for _ in range(question["repeats"] + 1):
        bootstrap = state_space_models.Bootstrap(ssm=model, data=question["data"])
        algorithm = particles.SMC(fk=bootstrap, N=question["particles"], resampling="systematic", ESSrmin=0.5)
        began = time.perf_counter()
        algorithm.run()
        seconds.append(time.perf_counter() - began)
        log_likelihoods.append(float(algorithm.logLt))
    # The first run compiles.
    json.dump({"seconds": seconds[1:], "log_likelihoods": log_likelihoods[1:]}, sys.stdout)


if __name__ == "__main__":
    main()
