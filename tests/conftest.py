"""What holds for every test."""

from hypothesis import settings

# The machine is shared and slow at times: time-outs belong to benchmarks, not to properties.
settings.register_profile("desk", deadline=None)
settings.load_profile("desk")
