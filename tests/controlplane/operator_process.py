"""The operator and the fake kubelet as real processes, as the tests of the control plane use them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.kubectl import kubectl_path
from tests.controlplane.fake_kubelet import NODE

ROOT = Path(__file__).parents[2]


class Process:
    """One process of ours; its output goes to a file, so that no pipe can fill up."""

    def __init__(self, arguments, log, **environ):
        self.log = log
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environ}
        env.pop("KUBECONFIG", None)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def pid(self):
        return self._process.pid

    @property
    def output(self):
        return self.log.read_text()

    @property
    def alive(self):
        return self._process.poll() is None

    def wait_for(self, text, timeout=30.0):
        deadline = time.monotonic() + timeout
        while text not in self.output:
            assert self.alive, f"ended with {self._process.returncode}:\n{self.output}"
            assert time.monotonic() < deadline, f"never said {text!r}:\n{self.output}"
            time.sleep(0.02)

    def wait(self, timeout=10.0):
        """Return the exit code."""
        return self._process.wait(timeout)

    def terminate(self, timeout=10.0):
        """Send SIGTERM; return the exit code and the seconds it took."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self.wait(timeout)
        return code, time.monotonic() - started

    def kill(self):
        self._process.kill()
        self._process.wait()


@contextmanager
def operator(kubeconfig, log, *arguments, ready=True, elect=False, **environ):
    """Run `redisop run`; wait until its caches are filled, and end it by SIGTERM.

    Without `elect` it needs no Lease, so that a test which kills an operator need not wait for that to expire. It serves ports
    only where a test asks for one, since many operators run on one machine.
    """
    election = "--leader-election" if elect else "--no-leader-election"
    fixed = [election, "--health-port", "0", "--metrics-port", "0"]
    process = Process(["-m", "redisop", "run", "--kubeconfig", str(kubeconfig), *fixed, *arguments], log, **environ)
    try:
        if ready:
            process.wait_for("caches are filled")
        yield process
        if process.alive:
            code, seconds = process.terminate()
            assert code == 0, process.output
            assert seconds < 5, f"took {seconds:.1f} s to end"
    finally:
        process.kill()


@contextmanager
def fake_kubelet(kubeconfig, log, *arguments):
    process = Process(["-m", "tests.controlplane.fake_kubelet", "--kubeconfig", str(kubeconfig), *arguments], log)
    try:
        yield process
        assert process.alive, process.output
    finally:
        process.kill()
        # Nothing runs on its node any more, and until its lease ends the scheduler would still use it.
        command = [kubectl_path(), "--kubeconfig", kubeconfig, "delete", "node", NODE]
        command += ["--ignore-not-found", "--wait=false", "--request-timeout=5s"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
