"""One control plane, fake kubelet and set of references for the fault suite."""

import asyncio

import pytest

from tests.faults.plans import references
from tests.faults.replica import scaled
from tests.faults.site import site

QUIET = 3.0
AT_ONCE = 8


@pytest.fixture(scope="session")
def place(own_control_plane):
    with site(own_control_plane) as found, scaled():
        yield found


@pytest.fixture(scope="session")
def known(place):
    async def run():
        async with place.opened():
            return await references(place, QUIET, AT_ONCE)

    return asyncio.run(run())
