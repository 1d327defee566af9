import json
import re
from pathlib import Path

import pytest
import yaml
from click import UsageError
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from redisop.commands.plan import plan
from redisop.errors import RedisopError

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "kustomize" / "samples" / "instance.yaml"
KEY = {
    "apiVersion": "redis.kubegateway.io/v1alpha1",
    "kind": "ApiKey",
    "metadata": {"name": "k"},
    "spec": {"userId": "u", "permissions": ["read"], "instanceAccess": ["demo"]},
}


def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(plan, [*arguments, "--offline"], input=stdin, env=env, standalone_mode=False)


def test_every_child_is_created_and_no_password_is_made():
    shown = run("-f", str(SAMPLE))
    assert shown.return_value == 1
    for child in ("StatefulSet/demo-redis", "Secret/demo-redis-credentials", "NetworkPolicy/demo-redis"):
        assert f"create    {child}\n" in shown.stdout
    assert shown.stdout.endswith("Plan: 9 to create.\n")
    assert shown.stderr == ""


def test_a_stream_with_other_kinds():
    foreign = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    stream = "---\n".join([SAMPLE.read_text(), yaml.safe_dump(foreign), yaml.safe_dump(foreign), yaml.safe_dump(KEY)])
    shown = run("-f", "-", stdin=stream)
    assert shown.return_value == 1
    assert "ignored 2 object(s) of other kinds: Deployment ×2" in shown.stderr
    assert "ApiKey/k is valid" in shown.stderr
    assert "Deployment" not in shown.stdout


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_documents_follow_their_schema(output):
    shown = run("-f", str(SAMPLE), "-o", output)
    document = json.loads(shown.stdout) if output == "json" else yaml.safe_load(shown.stdout)
    Draft202012Validator(json.loads((ROOT / "schemas" / "plan.schema.json").read_text())).validate(document)
    assert document["formatVersion"] == 1
    assert document["counts"]["create"] == 9


def test_the_operators_settings_refuse_an_image_by_name_of_the_field():
    instance = SAMPLE.read_text() + "  image: docker.io/evil/redis:1\n"
    refused = run("-f", "-", stdin=instance)
    assert refused.return_value == 2
    assert "spec.image" in refused.stdout
    allowed = run("-f", "-", stdin=instance, env={"REDISOP_IMAGE_ALLOW_LIST": "docker.io/evil/"})
    assert allowed.return_value == 1


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["-f", "-"], SAMPLE.read_text().replace("64Mi", "64MB"), "spec.redisConfig.memory: .*64MB"),
        (["-f", "-"], yaml.safe_dump(KEY | {"spec": {**KEY["spec"], "permissions": ["root"]}}), "spec.permissions"),  # type: ignore[dict-item]
        (["-f", "/no/such/file"], "", "/no/such/file: No such file"),
        (["-f", "/"], "", "/: Is a directory"),
        (
            ["-f", "-", "-n", "other"],
            SAMPLE.read_text().replace("name: demo", "name: demo\n  namespace: mine"),
            "'mine'.*'other'",
        ),
        ([], "", "give --filename"),
        (["demo", "-f", "-"], "", "exclude each other"),
        (["--all", "-n", "x"], "", "--offline has no cluster"),
    ],
)
def test_bad_input_is_named(arguments, stdin, message):
    shown = run(*arguments, stdin=stdin)
    assert isinstance(shown.exception, RedisopError | UsageError)
    text = getattr(shown.exception, "message", str(shown.exception))
    assert re.search(message, text), text
    assert shown.stdout == ""


def test_diff_shows_manifests_without_secrets():
    shown = run("-f", str(SAMPLE), "--diff")
    assert "maxmemory 67108864" in shown.stdout
    assert "(generated)" in shown.stdout
