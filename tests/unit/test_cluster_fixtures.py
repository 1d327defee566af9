import pytest

from tests.cluster.fixtures import unavailable


def test_what_cannot_run_is_skipped_on_a_developers_machine(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no root"):
        unavailable("no root")


def test_what_cannot_run_fails_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must run this tier"):
        unavailable("no root")
