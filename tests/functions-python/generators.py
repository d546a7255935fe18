"""Generators of numpy in their kinds."""

import numpy as np

np.random.seed(1)
modern = np.random.default_rng(5)
state = np.random.RandomState(9)
other = np.random.Generator(np.random.Philox(3))


def handler(event, context):
    return [np.random.random(), np.random.normal(), modern.random(), state.normal(), other.random()]
