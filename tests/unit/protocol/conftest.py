"""Hypothesis measures behaviour here, not time: a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("sokken", deadline=None)
settings.load_profile("sokken")
