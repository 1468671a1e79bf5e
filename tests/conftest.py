"""What holds for every test."""

from hypothesis import settings

# The machine is shared and slow at times: time-outs belong to benchmarks, not to properties. The same commit is judged
# by the same examples wherever it is tested; new ones are looked for by `make search`.
settings.register_profile("desk", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("desk")
