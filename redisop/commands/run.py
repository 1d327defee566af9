"""`redisop run`: the operator itself."""

import gc
import logging
import os
from pathlib import Path

import anyio
import click

from redisop.settings import Settings


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Kubeconfig file. Default: KUBECONFIG, the Pod's service account, or ~/.kube/config.",
)
@click.option("--context", help="Context of the kubeconfig.")
@click.option(
    "-n",
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NS",
    help="Watch this namespace only; may be repeated. Default: WATCH_NAMESPACE, comma separated, or all namespaces.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=8, show_default=True, help="Instances handled at once.")
@click.option(
    "--leader-election/--no-leader-election",
    "elect",
    default=True,
    show_default=True,
    help="Work only while holding the Lease. Switch it off only where no second operator can run.",
)
@click.option("--lease-name", default="redisop", show_default=True, help="One for each set of watched namespaces.")
@click.option(
    "--lease-namespace",
    metavar="NS",
    help="Default: REDISOP_OPERATOR_NAMESPACE, or the namespace of the Pod or of the kubeconfig's context.",
)
@click.option(
    "--lease-duration",
    type=click.FloatRange(1, 60),
    default=15,
    show_default=True,
    help="Seconds after which a leader that is gone is replaced.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every pass, also those that change nothing.")
def run(
    kubeconfig: Path | None,
    context: str | None,
    namespaces: tuple[str, ...],
    workers: int,
    *,
    elect: bool,
    lease_name: str,
    lease_namespace: str | None,
    lease_duration: float,
    verbose: bool,
) -> None:
    """Watch RedisHttpInstances and bring the cluster to what they say.

    Any number of replicas may run: the one that holds the Lease works, the others stand by.
    The operator's settings come from REDISOP_… variables. SIGTERM ends it within five seconds.
    """
    from redisop import operator
    from redisop.client import Client
    from redisop.election import Timing
    from redisop.lease import Lease

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for chatty in ("httpx2", "httpcore2", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    chosen = namespaces or tuple(name.strip() for name in os.environ.get("WATCH_NAMESPACE", "").split(","))
    settings = Settings.from_env(os.environ)
    client = Client.connect(kubeconfig, context)
    lease = None
    if elect:
        own = settings.operator_namespace if "operator_namespace" in settings.model_fields_set else client.namespace
        lease = Lease(client, lease_namespace or own, lease_name, timing=Timing.of(lease_duration))
    # Everything loaded so far stays: the collector need not walk it again and again.
    gc.freeze()

    async def main() -> None:
        async with client:
            await operator.run(client, settings, tuple(name for name in chosen if name), workers, lease)

    anyio.run(main)
