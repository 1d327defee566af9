"""Every task of the project, as nox sessions: `python3 noxfile.py --list` shows them.

Run by plain Python it needs nothing installed: it makes a virtual environment with nox (locked by hash) in the user's cache
folder first. Run by an installed nox it is an ordinary noxfile.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCKS = ROOT / "requirements"


def bootstrap() -> None:
    """Continue this very command in a virtual environment that has nox, made on first use."""
    lock = LOCKS / "nox.txt"
    digest = sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "redisop"
    home = cache / f"nox-{digest}"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        print(f"Making a virtual environment with nox in {home} …", flush=True)
        if importlib.util.find_spec("ensurepip") is None:
            if os.geteuid() != 0 or shutil.which("apt-get") is None:
                sys.exit(
                    "This Python cannot make virtual environments. Install its venv package (Debian: python3-venv)."
                )
            print("Installing python3-venv, which this Python lacks …", flush=True)
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "install", "-qq", "-y", "python3-venv"], check=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--require-hashes", "-r", lock]
        subprocess.run(pip, check=True)
        (home / "ready").touch()
    os.environ["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    os.execv(python, [str(python), str(ROOT / "noxfile.py"), *sys.argv[1:]])


if importlib.util.find_spec("nox") is None:
    if __name__ != "__main__":
        sys.exit("noxfile.py needs nox: run it as `python3 noxfile.py`, which gets it")
    bootstrap()

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"

VERSIONS = ["1.32.2", "1.37.2"]
"""Kubernetes versions on which the CRDs, the engine and the preconditions are proven; the last is the default."""

VERSIONED_TESTS = ["tests/controlplane", "tests/property"]


def install(session: nox.Session) -> None:
    """Install the locked packages and the checkout itself."""
    session.install("--require-hashes", "-r", str(LOCKS / "dev.txt"))
    session.install("--no-deps", "--no-build-isolation", "-e", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, import layers, and whether the generated schemas are current."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("redisop", "gen-crds", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Strict type check of the package and the tests."""
    install(session)
    session.run("mypy", "-p", "redisop")
    session.run("mypy", "-p", "tests")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests: unit, real redis-server, control plane tier, and (root) node tier. Arguments go to pytest."""
    install(session)
    session.run("pytest", *(session.posargs or ["tests"]))


@nox.session
def e2e(session: nox.Session) -> None:
    """Only the node tier (root): real kubelet, real Pods, real Redis."""
    install(session)
    session.run("pytest", "tests/e2e", *session.posargs)


@nox.session
def versions(session: nox.Session) -> None:
    """CRDs, engine and preconditions on every supported Kubernetes version."""
    install(session)
    for version in VERSIONS:
        session.log(f"Kubernetes {version}")
        session.run("pytest", *VERSIONED_TESTS, *session.posargs, env={"REDISOP_K8S_VERSION": version})


@nox.session
def cluster(session: nox.Session) -> None:
    """A real cluster by hand: `-- up`, `-- env`, `-- down`; `-- --help` tells more."""
    install(session)
    session.run("python", "-m", "tests.cluster", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job, step by step, on a cluster of its own (or the one in KUBECONFIG)."""
    install(session)
    session.run("python", "-m", "tests.demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measurements, each a ratio against something measured in the same run."""
    install(session)
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """The fault table on a control plane of its own: a sample, or `-- --all`; `-- --help` tells more."""
    install(session)
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session
def crds(session: nox.Session) -> None:
    """Write schemas/ anew from the models."""
    install(session)
    session.run("redisop", "gen-crds")


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements/ anew from pyproject.toml; `-- --upgrade` takes newer versions."""
    session.install("uv")
    compile_ = [
        "uv",
        "pip",
        "compile",
        "-q",
        "--generate-hashes",
        "--universal",
        "--no-emit-index-url",
        "--no-emit-find-links",
    ]
    compile_ += ["--no-header", "--python-version", "3.11", "pyproject.toml", *session.posargs]
    session.run(*compile_, "-o", "requirements/runtime.txt")
    session.run(*compile_, "--group", "dev", "-o", "requirements/dev.txt")
    # Only the group, without the project's own dependencies: a project file is needed to find the group, no more.
    session.run(
        *[part for part in compile_ if part != "pyproject.toml"], "--group", "nox", "-o", "requirements/nox.txt"
    )


if __name__ == "__main__":
    sys.exit(nox.main())
