import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from redisop.commands.crds import gen_crds
from redisop.crd import crds, json_schemas
from redisop.errors import InputError

NAMES = [
    "apikey.schema.json",
    "redis.kubegateway.io_apikeys.yaml",
    "redis.kubegateway.io_redishttpinstances.yaml",
    "redishttpinstance.schema.json",
]


def run(*arguments):
    return CliRunner().invoke(gen_crds, [str(item) for item in arguments], standalone_mode=False)


def test_the_committed_files_are_what_the_models_say():
    done = run("--check", "-o", Path(__file__).parents[2] / "schemas")
    assert done.return_value == 0, done.stderr


def test_files_are_written_whole_readable_and_once(tmp_path):
    folder = tmp_path / "new" / "schemas"
    done = run("-o", folder)
    assert done.return_value == 0
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))] == sorted(
        crds(), key=lambda crd: crd["metadata"]["name"]
    )
    assert json.loads((folder / "apikey.schema.json").read_text()) == json_schemas()["ApiKey"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert run("-o", folder).stdout == ""


def test_check_names_what_is_stale_or_missing_and_writes_nothing(tmp_path):
    assert run("--check", "-o", tmp_path).return_value == 1
    assert list(tmp_path.iterdir()) == []
    run("-o", tmp_path)
    assert run("--check", "-o", tmp_path).return_value == 0
    stale = tmp_path / NAMES[2]
    stale.write_text(stale.read_text().replace("256Mi", "512Mi"))
    (tmp_path / NAMES[0]).unlink()
    done = run("--check", "-o", tmp_path)
    assert done.return_value == 1
    assert done.stderr.splitlines()[:2] == [f"stale: {stale}", f"stale: {tmp_path / NAMES[0]}"]
    assert "512Mi" in stale.read_text()


def test_files_of_others_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "plan.schema.json").write_text("{}")
    run("-o", tmp_path)
    assert (tmp_path / "plan.schema.json").read_text() == "{}"
    assert run("--check", "-o", tmp_path).return_value == 0


def test_a_hyphen_prints_the_definitions_for_kubectl():
    done = run("-o", "-")
    assert list(yaml.safe_load_all(done.stdout)) == list(crds())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "schemas").write_text("a file")
    with pytest.raises(InputError, match="schemas"):
        raise run("-o", tmp_path / "schemas").exception


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    run("-o", tmp_path)
    old = tmp_path / NAMES[1]
    old.write_text("old")

    def fail(_, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match="No space left"):
        raise run("-o", tmp_path).exception
    assert old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES
