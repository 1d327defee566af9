"""What a node needs from the machine it runs on."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.progress import CommandError, run

PACKAGES = {
    "runc": ["/usr/sbin/runc", "/usr/bin/runc"],
    "containernetworking-plugins": ["/usr/lib/cni/ptp"],
    "nftables": ["/usr/sbin/nft"],
    "iproute2": ["/usr/sbin/ip", "/sbin/ip"],
    "debootstrap": ["/usr/sbin/debootstrap"],
    "debian-archive-keyring": ["/usr/share/keyrings/debian-archive-keyring.gpg"],
}
"""Debian package -> a file that it brings; the second one is where another package may bring it."""

IMAGE_BUILD_PACKAGES = {"buildah": ["/usr/bin/buildah"]}


def why_no_node() -> str | None:
    """Why this machine cannot run a node, or `None`."""
    if os.geteuid() != 0:
        return "a node with real pods needs root (mounts, network namespaces)"
    answer = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        return f"no new namespaces on this machine: {answer.stderr.strip()}"
    if not Path("/usr/bin/apt-get").exists() and missing(PACKAGES):
        return f"not Debian, and these are missing: {', '.join(missing(PACKAGES))}"
    return None


def missing(packages: Mapping[str, Sequence[str]]) -> list[str]:
    return [name for name, files in packages.items() if not any(Path(file).exists() for file in files)]


def install(packages: Mapping[str, Sequence[str]]) -> None:
    """Install the missing ones with apt-get."""
    wanted = missing(packages)
    if not wanted:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *wanted]
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    what = f"Debian packages {', '.join(wanted)}"
    try:
        run(what, command, env=env)
    except CommandError:
        run("Debian package lists", ["apt-get", "update"])
        run(what, command, env=env)


def debian_mirror() -> str | None:
    """The mirror that this Debian machine is set up with; `None`: let debootstrap choose."""
    release = Path("/etc/os-release").read_text()
    if "\nID=debian\n" not in f"\n{release}\n":
        return None
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(COMPONENT)"], capture_output=True, text=True, check=True
    )
    sites = [line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" main")]
    return next((site for site in sites if "security" not in site), None)
