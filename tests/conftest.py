"""Fixtures every tier of tests shares, and how hypothesis runs in all of them."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixtures"]

# No deadline and no complaint about slow generation: machines are shared, and no test may depend on their speed.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The gate tries the same cases every time, so that a red run means a change; everybody else looks for new ones.
settings.register_profile("gate", settings.get_profile("default"), derandomize=True)
settings.load_profile("gate" if os.environ.get("CI") else "default")
