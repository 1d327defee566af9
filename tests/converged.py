"""An instance whose plan has been carried out to the end, without an operator: for tests and measurements of the plan itself."""

import subprocess
import sys

from redisop.client import Client
from redisop.decide import decide
from redisop.kinds import Object, Ref
from redisop.plan import Settled, request, settle
from redisop.settings import Settings
from redisop.values import materialise
from tests.cluster import ControlPlane, ExistingCluster


def install(cluster: ControlPlane | ExistingCluster) -> None:
    """Install the CRDs and wait until they are served."""
    command = [sys.executable, "-m", "redisop", "gen-crds", "-o", "-"]
    crds = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cluster.kubectl("apply", "--server-side", "-f", "-", input=crds)
    wait_established(cluster)


def wait_established(cluster: ControlPlane | ExistingCluster) -> None:
    """Wait until the CRDs are served."""
    names = [f"crd/{name}.redis.kubegateway.io" for name in ("redishttpinstances", "apikeys")]
    # kubectl fails at once where the status has no conditions yet.
    cluster.kubectl("wait", "--for=jsonpath={.status.conditions[0].type}", *names, "--timeout=30s")
    cluster.kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")


async def converge(client: Client, instance: Object, settings: Settings) -> tuple[dict[Ref, Object], Settled]:
    """Carry out every plan of `instance` until there is nothing to do; return its objects and what is settled."""
    live: dict[Ref, Object] = {}
    settled: Settled = {}
    while writes := decide(instance, live, settled, settings).plan.writes:
        for step in writes:
            want = materialise(request(step))
            live[step.ref] = await client.apply(want)
            settle(settled, want, live[step.ref])
    return live, settled
