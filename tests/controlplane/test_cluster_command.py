"""`python -m tests.cluster`: the cluster by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.kubectl import kubectl_path

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("own_control_plane")]


@pytest.fixture
def cluster(tmp_path):
    """Run the command with a state folder of its own; what it started is stopped at the end."""

    def command(*args):
        return subprocess.run(
            [sys.executable, "-m", "tests.cluster", *args],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    yield command
    command("down", "--all")


def test_up_env_status_down(cluster, tmp_path):
    assert "no cluster" in cluster("status").stdout
    up = cluster("up", "--name", "one")
    assert up.returncode == 0, up.stderr
    assert cluster("up", "--name", "one").returncode == 0, "a second up finds it"
    assert "one: Kubernetes 1." in cluster("status").stdout
    shell = cluster("env", "--name", "one").stdout + f"{kubectl_path()} get namespace default -o name"
    shown = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert shown.stdout == "namespace/default\n"
    different = cluster("up", "--name", "one", "--version", "1.32")
    assert "`down` it first" in different.stderr
    assert cluster("down", "--name", "one").stdout == "one: stopped\n"
    assert cluster("down", "--name", "one").stdout == "one: was not running\n"
    assert list((tmp_path / "redisop" / "clusters").iterdir()) == []


def test_env_without_a_cluster_says_what_to_do(cluster):
    answer = cluster("env")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert "start it: python -m tests.cluster up" in answer.stderr


def test_up_with_an_unknown_version_names_the_known_ones(cluster):
    answer = cluster("up", "--version", "1.5")
    assert answer.returncode == 1
    assert "'1.5' is not one of 1.37.2" in answer.stderr
