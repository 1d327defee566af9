"""`redisop run`: the operator itself."""

import gc
import os
import sys
from pathlib import Path
from typing import Literal

import anyio
import click

from redisop import logs
from redisop.settings import Settings

HEALTH_PORT, METRICS_PORT = 8081, 8080


def _in_a_pod(port: int) -> int:
    return port if os.environ.get("KUBERNETES_SERVICE_HOST") else 0


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
    "--mode",
    type=click.Choice(["operate", "observe"]),
    default="operate",
    show_default=True,
    help="observe: tell by logs, Events and metrics what would be done, and do nothing; also beside another version that operates.",
)
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
@click.option(
    "--log-format",
    type=click.Choice(["json", "console"]),
    help="One JSON object per line, or text for people. Default: text on a terminal, else JSON.",
)
@click.option(
    "--log-level",
    "log_levels",
    multiple=True,
    metavar="[MODULE=]LEVEL",
    help="debug, info (the default), warning or error; for one module with its name, like redisop.reflector=debug. "
    "May be repeated. At debug every pass is logged, also those that change nothing.",
)
@click.option("-v", "--verbose", is_flag=True, help="Short for --log-level debug.")
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    default=_in_a_pod(HEALTH_PORT),
    help="Port of /healthz and /readyz; 0 for none. Default: 8081 in a Pod, else none.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=_in_a_pod(METRICS_PORT),
    help="Port of /metrics, for tokens that may `get` it; 0 for none. Default: 8080 in a Pod, else none.",
)
@click.option("--bind", default="", metavar="ADDRESS", help="Address of both ports. Default: all.")
@click.option(
    "--metrics-tls",
    nargs=2,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="CERT KEY",
    help="Serve the metrics over TLS with this certificate and key (PEM); read again when they change.",
)
def run(
    *,
    kubeconfig: Path | None,
    context: str | None,
    namespaces: tuple[str, ...],
    workers: int,
    mode: Literal["operate", "observe"],
    elect: bool,
    lease_name: str,
    lease_namespace: str | None,
    lease_duration: float,
    log_format: Literal["json", "console"] | None,
    log_levels: tuple[str, ...],
    verbose: bool,
    health_port: int,
    metrics_port: int,
    bind: str,
    metrics_tls: tuple[Path, Path] | None,
) -> None:
    """Watch RedisHttpInstances and bring the cluster to what they say.

    Any number of replicas may run: the one that holds the Lease works, the others stand by.
    The operator's settings come from REDISOP_… variables. SIGTERM ends it within five seconds.
    """
    from redisop import operator
    from redisop.client import Client
    from redisop.election import Timing
    from redisop.endpoints import Endpoints
    from redisop.lease import Lease

    style = log_format or ("console" if sys.stderr.isatty() else "json")
    logs.configure(style, (*(["debug"] if verbose else []), *log_levels))
    chosen = namespaces or tuple(name.strip() for name in os.environ.get("WATCH_NAMESPACE", "").split(","))
    settings = Settings.from_env(os.environ)
    client = Client.connect(kubeconfig, context)
    lease = None
    observe = mode == "observe"
    if elect and not observe:
        own = settings.operator_namespace if "operator_namespace" in settings.model_fields_set else client.namespace
        lease = Lease(client, lease_namespace or own, lease_name, timing=Timing.of(lease_duration))
    endpoints = Endpoints(health_port, metrics_port, bind, metrics_tls)
    # Everything loaded so far stays: the collector need not walk it again and again.
    gc.freeze()

    async def main() -> None:
        async with client:
            await operator.run(
                client, settings, tuple(name for name in chosen if name), workers, lease, endpoints, observe=observe
            )

    anyio.run(main)
