"""A cluster, the operator, an instance, a drift, a repair, a goodbye; each step says what it shows."""

import argparse
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.demo.place import Place, own_cluster, their_cluster
from tests.demo.steps import STEPS, Story
from tests.demo.terminal import Failed, Terminal


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--kubeconfig", type=Path, help="use this cluster instead of starting one (default: $KUBECONFIG)"
    )
    parser.add_argument("--no-node", action="store_true", help="start no node even as root: everything but the Pod")
    arguments = parser.parse_args()
    given = arguments.kubeconfig or (Path(os.environ["KUBECONFIG"]) if os.environ.get("KUBECONFIG") else None)
    # SIGTERM has to take the cluster down too, so it becomes what Ctrl-C is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    terminal = Terminal()
    try:
        with ExitStack() as stack:
            place: Place
            if given:
                place = their_cluster(terminal, given)
            else:
                place = own_cluster(terminal, stack, node=os.geteuid() == 0 and not arguments.no_node)
            story = stack.enter_context(Story(terminal, place))
            for number, step in enumerate(STEPS, 1):
                terminal.heading(f"{number}/{len(STEPS)}", (step.__doc__ or "").strip())
                step(story)
        terminal.heading("done", "Everything the demo started is gone again.")
    except Failed as failure:
        terminal.error(str(failure))
        return 1
    except KeyboardInterrupt:
        terminal.error("interrupted; everything the demo started is gone again")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
