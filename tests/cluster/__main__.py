"""Command line of the test cluster."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from .component import ComponentError
from .daemon import Daemon
from .gobuild import kubernetes_binary
from .gomod import add_version
from .kubectl import kubectl_path
from .node import NoNode, base_image, build_everything, exporter_image
from .node.node import import_archive
from .progress import CommandError
from .versions import DEFAULT_VERSION, known_versions, resolve, versions_with_node

HELP = f"""\
A real Kubernetes on this machine, without Docker: etcd, apiserver, controller-manager and
scheduler, and with --node (root, Debian) also a kubelet that runs pods.

  python -m tests.cluster up --node          start it; the first time builds for 6 to 10 minutes
  eval "$(python -m tests.cluster env)"      let kubectl and redisop talk to it
  kubectl get nodes
  python -m tests.cluster load image.tar     make an image known to the node
  python -m tests.cluster down               stop it; nothing of it is left

The first build needs about 5 GB of disk, is kept in ~/.cache/redisop, and may be deleted any time.
Versions: {", ".join(known_versions())}; with a node: {", ".join(versions_with_node())}.
"""


def main() -> int:
    args = _parser().parse_args()
    try:
        return int(args.run(args) or 0)
    except (ComponentError, CommandError, NoNode, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str, *options: str):
        sub = commands.add_parser(name, description=text, help=text)
        sub.set_defaults(run=run)
        if "name" in options:
            sub.add_argument("--name", default="redisop", help="which cluster, when several run (default: %(default)s)")
        if "version" in options:
            sub.add_argument("--version", default=DEFAULT_VERSION, help="of Kubernetes (default: %(default)s)")
        if "node" in options:
            sub.add_argument("--node", action="store_true", help="with a node that runs pods; needs root")
        if "audit" in options:
            sub.add_argument("--audit", action="store_true", help="log every request")
        return sub

    command("up", _up, "start a cluster in the background", "name", "version", "node", "audit")
    command(
        "own", _own, "what `up` starts: the same in the foreground, until SIGTERM", "name", "version", "node", "audit"
    )
    command("down", _down, "stop a cluster and remove all of it", "name").add_argument(
        "--all", action="store_true", help="every cluster of this user that was started by `up`"
    )
    command("env", _env, "print what to eval in a shell", "name")
    command("status", _status, "list the clusters of this user")
    load = command("load", _load, "import an OCI or Docker archive into the node", "name")
    load.add_argument("archive", type=Path, nargs="+")
    command("build", _build, "only build what `up` needs, and keep it", "version", "node")
    add = command("add-version", _add_version, "write go.mod and go.sum for another Kubernetes version")
    add.add_argument("version", help="for example 1.36.3")
    return parser


def _up(args: argparse.Namespace) -> None:
    daemon = Daemon(args.name)
    version = resolve(args.version)
    running = daemon.running
    if running is None:
        running = daemon.up(version, node=args.node, audit=args.audit)
    elif running.version != version or (args.node and not running.node):
        raise RuntimeError(f"cluster {args.name!r} runs {_describe(running)}; `down` it first, or give another --name")
    print(f"{args.name}: {_describe(running)} at {running.url}")
    option = "" if args.name == "redisop" else f" --name {args.name}"
    print(f'now: eval "$({Path(sys.executable).name} -m tests.cluster env{option})"')


def _own(args: argparse.Namespace) -> None:
    Daemon(args.name).own(args.version, node=args.node, audit=args.audit)


def _down(args: argparse.Namespace) -> None:
    for daemon in Daemon.all() if args.all else [Daemon(args.name)]:
        print(f"{daemon.name}: {'stopped' if daemon.down() else 'was not running'}")


def _env(args: argparse.Namespace) -> int:
    daemon = Daemon(args.name)
    if daemon.running is None:
        print(f"cluster {args.name!r} is not up; start it: python -m tests.cluster up", file=sys.stderr)
        return 1
    print(f"export KUBECONFIG={shlex.quote(str(daemon.kubeconfig))}")
    if shutil.which("kubectl") is None:
        print(f'export PATH={shlex.quote(str(kubectl_path().parent))}:"$PATH"')
    return 0


def _status(args: argparse.Namespace) -> None:
    del args
    found = Daemon.all()
    for daemon in found:
        running = daemon.running
        state = (
            f"{_describe(running)}, in {running.data_dir}"
            if running
            else "starting"
            if daemon.owned
            else "ended; `down` removes the rest"
        )
        print(f"{daemon.name}: {state}")
    if not found:
        print("no cluster; start one: python -m tests.cluster up")


def _load(args: argparse.Namespace) -> None:
    running = Daemon(args.name).running
    if running is None or running.node is None:
        raise RuntimeError(f"cluster {args.name!r} has no node; start one: python -m tests.cluster up --node")
    for archive in args.archive:
        import_archive(Path(running.data_dir), archive)


def _build(args: argparse.Namespace) -> None:
    version = resolve(args.version)
    kubernetes_binary(version)
    if args.node:
        build_everything(version)
        for image in (base_image, exporter_image):
            image.archive()


def _add_version(args: argparse.Namespace) -> None:
    print(f"wrote {os.path.relpath(add_version(args.version.removeprefix('v')))}")


def _describe(running) -> str:
    return f"Kubernetes {running.version}, {'node ' + running.node if running.node else 'no node'}"


if __name__ == "__main__":
    sys.exit(main())
