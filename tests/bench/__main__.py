"""Run the measurements named on the command line, or all of them."""

import argparse
import importlib
import sys

MEASUREMENTS = ("startup", "noop", "converge")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(MEASUREMENTS)} (default: all)")
    names = parser.parse_args().names or MEASUREMENTS
    for name in names:
        if name not in MEASUREMENTS:
            parser.error(f"no measurement {name!r}; there are {', '.join(MEASUREMENTS)}")
    for name in names:
        importlib.import_module(f"tests.bench.{name}").measure()
    return 0


if __name__ == "__main__":
    sys.exit(main())
