import json
import sys

import pytest
import yaml

from redisop import kubeconfig
from redisop.client import Client
from redisop.errors import InputError
from redisop.kinds import SERVICE
from tests.unit.wire import reply, wire

PLANTED = "hunter2-token"


def document(name="here", **user):
    return {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
        "clusters": [{"name": name, "cluster": {"server": "http://127.0.0.1:1", "certificate-authority": "ca.crt"}}],
        "users": [{"name": name, "user": user or {"token": PLANTED}}],
    }


@pytest.fixture
def write(tmp_path):
    def write(content, name="config"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def test_files_are_looked_for_in_the_documented_order(tmp_path, monkeypatch, write):
    monkeypatch.setenv("HOME", str(tmp_path))
    account = tmp_path / "account"
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", account)
    with pytest.raises(InputError, match="--kubeconfig"):
        kubeconfig.find(None, {})
    default = write(document(), ".kube/config")
    assert kubeconfig.find(None, {}) == (default,)
    account.mkdir()
    (account / "token").write_text("t")
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert kubeconfig.find(None, pod) == ()
    first, second = write(document(), "first"), write(document(), "second")
    assert kubeconfig.find(None, {**pod, "KUBECONFIG": f"{first}:/missing:{second}"}) == (first, second)
    assert kubeconfig.find(second, {**pod, "KUBECONFIG": str(first)}) == (second,)
    with pytest.raises(InputError, match="KUBECONFIG: none"):
        kubeconfig.find(None, {"KUBECONFIG": "/missing"})
    with pytest.raises(InputError, match="no such file"):
        kubeconfig.find(tmp_path / "missing", {})


def test_the_first_file_to_name_a_thing_wins_and_paths_are_relative_to_their_file(write):
    a, b = write(document("a"), "one/a"), write(document("b"), "two/b")
    merged = kubeconfig.load((a, b), None)
    assert merged["current-context"] == "a"
    assert merged["clusters"][0]["cluster"]["certificate-authority"] == str(a.parent / "ca.crt")
    assert kubeconfig.load((a, b), "b")["contexts"][0]["context"]["namespace"] == "ns-b"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "not a kubeconfig"),
        (f"token: {PLANTED}\n\t- {PLANTED}", r"not a YAML file \(line 2\)"),
        ({**document(), "current-context": ""}, "no current-context"),
        ({**document(), "current-context": "x"}, r"no context 'x' \(there are: here\)"),
        ({**document(), "clusters": []}, "no cluster 'here'"),
        ({**document(), "users": [PLANTED]}, r"users\[0\]"),
        (document(exec={"apiVersion": "client.authentication.k8s.io/v9"}), "v9 is not supported"),
        (document(**{"auth-provider": {"name": "gcp"}}), "auth-provider is not supported"),
        (document(**{"as": "admin", "token": PLANTED}), "user.as is not supported"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_without_quoting_it(write, content, text):
    with pytest.raises(InputError, match=text) as caught:
        kubeconfig.load((write(content),), None)
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("certificate-authority-data", f"!{PLANTED}"),
        ("certificate-authority-data", "aGVsbG8="),
        ("certificate-authority", "missing.crt"),
        ("server", 5),
        ("server", "http://[::1"),
        ("server", ""),
    ],
)
def test_a_cluster_that_cannot_be_used_is_an_input_error(write, field, value):
    content = document()
    content["clusters"][0]["cluster"] = {"server": "https://127.0.0.1:1", field: value}
    with pytest.raises(InputError) as caught:
        Client.connect(write(content))
    assert PLANTED not in str(caught.value)


async def test_an_exec_plugin_of_v1_gives_the_token(write):
    script = (
        "import json, os; info = json.loads(os.environ['KUBERNETES_EXEC_INFO']);"
        "print(json.dumps({'status': {'token': 'from-plugin-' + info['apiVersion'].split('/')[1]}}))"
    )
    run = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": ["-c", script]}
    async with wire(reply("200 OK", {"kind": "Service"})) as (other, server):
        content = document(exec=run)
        content["clusters"][0]["cluster"] = {"server": str(other._http.base_url)}
        async with Client.connect(write(content)) as client:
            assert client.namespace == "ns-here"
            await client.get(SERVICE, "t", "x")
    assert server.requests[0][1]["authorization"] == "bearer from-plugin-v1"
    assert json.loads(server.requests[0][2] or b"null") is None
