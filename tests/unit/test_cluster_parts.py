"""The pure parts of the test cluster; what runs processes is tried in the other tiers."""

import json
import tarfile
import threading
import time

import pytest

from tests.cluster.addresses import Addresses, free_ports
from tests.cluster.gobuild import cached
from tests.cluster.gomod import go_mod
from tests.cluster.node.images import ImageConfig, write_image
from tests.cluster.node.storage import growth, volume_for
from tests.cluster.progress import CommandError, run
from tests.cluster.reaper import clean
from tests.cluster.versions import GO_DIR, known_versions, resolve, versions_with_node

UPSTREAM = """module k8s.io/kubernetes

go 1.26.0

require (
	go.etcd.io/etcd/client/v3 v3.7.0
	k8s.io/api v0.0.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/kubelet => ./staging/src/k8s.io/kubelet
)
"""


def test_a_version_is_found_by_its_beginning():
    assert resolve("1.32") == resolve("v1.32.2") == "1.32.2"
    with pytest.raises(ValueError, match=r"'1\.3' is not one of"):
        resolve("1.3")


def test_every_version_has_checksums_and_one_has_a_node():
    for version in known_versions():
        assert "k8s.io/kubernetes v" + version in (GO_DIR / version / "go.sum").read_text()
    assert versions_with_node()


def test_go_mod_replaces_every_staging_module_by_its_release():
    text = go_mod("1.37.2", UPSTREAM)
    assert "\tgo.etcd.io/etcd/server/v3 v3.7.0\n\tk8s.io/kubernetes v1.37.2\n" in text
    assert "\tk8s.io/api => k8s.io/api v0.37.2\n\tk8s.io/kubelet => k8s.io/kubelet v0.37.2\n" in text


def test_address_ranges_of_two_clusters_are_apart():
    first, second = Addresses(192), Addresses(193)
    assert first.host == "10.192.0.1"
    assert not {first.host, first.node, first.pods, first.services} & {
        second.host,
        second.node,
        second.pods,
        second.services,
    }


def test_free_ports_are_different():
    assert len(set(free_ports(20))) == 20


def test_two_that_want_the_same_build_it_once(tmp_path):
    built = []

    def build(scratch):
        built.append(scratch)
        time.sleep(0.2)
        (scratch / "thing").write_text("whole")

    threads = [threading.Thread(target=cached, args=(tmp_path / "thing", build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert (tmp_path / "thing").read_text() == "whole"


def test_a_failed_build_leaves_nothing_that_looks_done(tmp_path):
    def build(scratch):
        (scratch / "thing").write_text("half")
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        cached(tmp_path / "thing", build)
    assert not (tmp_path / "thing").exists()


def test_a_slow_command_is_reported_with_its_last_line(capsys):
    run("step", ["sh", "-c", "echo at work; sleep 0.5"], every=0.2)
    assert "step: 0 s, at: at work" in capsys.readouterr().err


def test_a_command_that_fails_shows_what_it_wrote():
    with pytest.raises(CommandError, match="exit status 3\nno such module"):
        run("step", ["sh", "-c", "echo no such module; exit 3"])


def test_a_command_that_hangs_is_ended():
    with pytest.raises(CommandError, match="not done after 0 s, at: stuck here"):
        run("step", ["sh", "-c", "echo stuck here; sleep 60"], every=0.1, timeout=0.2)


def test_only_the_data_folder_of_a_cluster_is_ever_removed(tmp_path):
    with pytest.raises(ValueError, match="not the data folder of a test cluster"):
        clean(tmp_path)
    assert tmp_path.exists()


def test_an_image_holds_its_programs_and_says_how_to_run(tmp_path):
    program = tmp_path / "tool"
    program.write_bytes(b"code")
    write_image(tmp_path / "out.tar", "a.test/tool:1", ImageConfig(["/tool"], user="7:7"), files={"tool": program})
    with tarfile.open(tmp_path / "out.tar") as archive:

        def blob(descriptor):
            content = archive.extractfile(f"blobs/{descriptor['digest'].replace(':', '/')}")
            assert content is not None
            return content

        index_file = archive.extractfile("index.json")
        assert index_file is not None
        (entry,) = json.load(index_file)["manifests"]
        assert entry["annotations"]["io.containerd.image.name"] == "a.test/tool:1"
        manifest = json.load(blob(entry))
        config = json.load(blob(manifest["config"]))["config"]
        assert (config["Entrypoint"], config["User"]) == (["/tool"], "7:7")
        with tarfile.open(fileobj=blob(manifest["layers"][0]), mode="r:gz") as layer:
            assert layer.getmember("tool").mode == 0o755


def claim(**changes):
    spec = {
        "storageClassName": "local",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}},
        **changes.pop("spec", {}),
    }
    annotations = {"volume.kubernetes.io/selected-node": "n"}
    meta = {"name": "c", "namespace": "ns", "uid": "u", "annotations": annotations, **changes.pop("metadata", {})}
    return {"metadata": meta, "spec": spec, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}, **changes}


def test_a_claim_with_a_chosen_node_gets_a_volume_there(tmp_path):
    volume = volume_for(claim(), tmp_path)
    assert volume is not None
    assert volume["spec"]["local"] == {"path": str(tmp_path / "pvc-u")}
    assert volume["spec"]["claimRef"]["uid"] == "u"
    assert '"values": ["n"]' in json.dumps(volume["spec"]["nodeAffinity"])


@pytest.mark.parametrize(
    "other",
    [
        {"spec": {"storageClassName": "another"}},
        {"spec": {"volumeName": "bound-already"}},
        {"metadata": {"annotations": {}}},
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
)
def test_any_other_claim_gets_none(tmp_path, other):
    assert volume_for(claim(**other), tmp_path) is None


def test_only_a_bound_claim_that_asks_for_more_grows():
    assert growth(claim()) == "2Gi"
    assert growth(claim(status={"phase": "Bound", "capacity": {"storage": "2Gi"}})) is None
    assert growth(claim(status={"phase": "Pending"})) is None
    assert growth(claim(spec={"storageClassName": "another"})) is None
