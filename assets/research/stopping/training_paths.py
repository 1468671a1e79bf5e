"""Paths that decisions are made from, backwards: what continuing from a date brought on each of them.

Both the networks and the regression walk from the last date to the first. At each date they see the states and, path by
path, the payoff of continuing and stopping by the decisions already made for later dates. That payoff is hedged (see
dual): same mean given the state, less noise, so fewer paths and steps suffice.
"""

from assets.research.bad_input import BadInput, Floats
from assets.research.stopping.dual import Policy, generator, hedged, normals
from assets.research.stopping.problems import States, StoppingProblem


class TrainingPaths:
    """``count`` simulated paths; ``date`` is where the walk backwards stands, N at first.

    One set of paths serves all dates and all steps of the training; the bounds draw paths of their own.
    """

    def __init__(self, problem: StoppingProblem, count: int, seed: int) -> None:
        if count < 100:
            raise BadInput(f"{count} is too few, at least 100 are needed", column="paths")
        self.problem = problem
        random = generator(seed, 0)
        self._states = [problem.initial(normals(random, count, problem.initial_noise))]
        for date in range(problem.dates):
            self._states.append(problem.advance(self._states[-1], date, normals(random, count, problem.noise)))
        self.date = problem.dates
        self._value = problem.payoff(self._states[-1], self.date)
        self._price = problem.hedge_prices(self._states[-1], self.date)

    @property
    def state(self) -> States:
        return self._states[self.date]

    @property
    def payoff(self) -> Floats:
        return self.problem.payoff(self.state, self.date)

    def step_back(self) -> None:
        """To the date before."""
        self.date -= 1

    def continued(self) -> Floats:
        """(count,) hedged payoffs of continuing from ``date``: their mean given the state is the continuation value."""
        gains = self.problem.hedge_gains(self.state, self.problem.hedge_prices(self.state, self.date), self._price)
        return hedged(self._value, gains)

    def settle(self, policy: Policy) -> None:
        """Stop the paths that ``policy`` stops at ``date``."""
        payoff = self.payoff
        stop = policy.stops(self.date, self.state, payoff)
        self._value[stop] = payoff[stop]
        self._price[stop] = self.problem.hedge_prices(self.state[stop], self.date)
