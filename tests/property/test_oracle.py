"""The real API server is the oracle: what does a forced dry-run apply say where a plan says "unchanged"?

Each case applies a random manifest, lets others edit the object in random ways, and plans a random manifest against what is then
live. "Unchanged" is wrong if the dry run changes anything: a value, the order of a list, or who owns what.

REDISOP_ORACLE_CASES (number), REDISOP_ORACLE_SEED and REDISOP_ORACLE_CASE (run only that one) are read from the environment.
"""

import collections
import concurrent.futures
import copy
import os
import random
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from redisop.fieldset import Difference, Op, diff
from redisop.plan import Action, Settled, plan_object, request, settle
from redisop.plan import decide as planner
from tests.converged import install
from tests.property.desired import MAKERS, SAMPLE_CRD, named
from tests.property.edits import KINDS, Edits, Target, mutation, possible, put_at, show
from tests.property.server import MERGE_PATCH, Answer, Server

CASES = int(os.environ.get("REDISOP_ORACLE_CASES", "2100"))
SEED = os.environ.get("REDISOP_ORACLE_SEED") or secrets.token_hex(4)
ONLY = os.environ.get("REDISOP_ORACLE_CASE")
THREADS = 6

pytestmark = pytest.mark.timeout(900)


def policy(name: str, condition: str, mutation: dict[str, Any], namespace: str, version: str) -> list[dict[str, Any]]:
    """Return a MutatingAdmissionPolicy for one namespace, and its binding."""
    api = f"admissionregistration.k8s.io/{version}"
    rules = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*"]}]
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return [
        {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": rules, "namespaceSelector": here},
                "matchConditions": [{"name": "when", "expression": condition}],
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "mutations": [mutation],
            },
        },
        {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name},
        },
    ]


ANNOTATED = "has(object.metadata.annotations) && 'ours' in object.metadata.annotations"
MANAGED = "has(request.options.fieldManager) && request.options.fieldManager == "


def setting(value: str) -> dict[str, Any]:
    expression = f'Object{{metadata: Object.metadata{{annotations: {{"ours": "{value}"}}}}}}'
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


REMOVING = {
    "patchType": "JSONPatch",
    "jsonPatch": {"expression": '[JSONPatch{op: "remove", path: "/metadata/annotations/ours"}]'},
}


@pytest.fixture
def oracle(own_control_plane, namespace):
    """The server with the sample CRD, and three admission policies: two triggered by a manager, one always on by label."""
    cluster = own_control_plane
    version = "v1alpha1" if cluster.version.startswith("1.32") else "v1"
    policies = [
        *policy(f"{namespace}-set", MANAGED + "'trigger-set'", setting("mutated"), namespace, version),
        *policy(f"{namespace}-remove", MANAGED + "'trigger-remove' && " + ANNOTATED, REMOVING, namespace, version),
        *policy(
            f"{namespace}-always",
            "has(object.metadata.labels) && 'always-mutated' in object.metadata.labels",
            setting("always mutated"),
            namespace,
            version,
        ),
    ]
    install(cluster)
    cluster.apply(SAMPLE_CRD, *policies)
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{SAMPLE_CRD['metadata']['name']}", "--timeout=30s")
    server = Server(cluster)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "the-owner"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps/the-owner"
    uid = server.apply(path, owner).body["metadata"]["uid"]
    until_policies_work(server, namespace)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "the-owner", "uid": uid, "controller": True}
    yield server, namespace, {**reference, "blockOwnerDeletion": True}
    server.close()
    for item in policies:
        cluster.kubectl("delete", item["kind"].lower(), item["metadata"]["name"], "--wait=false")


def until_policies_work(server: Server, namespace: str) -> None:
    def ours(manager: str, **labels: str) -> str | None:
        metadata = {"name": f"probe-{manager}", "annotations": {"ours": "x"}, "labels": labels}
        probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        answer = server.apply(f"/api/v1/namespaces/{namespace}/configmaps/{metadata['name']}", probe, manager)
        found: str | None = answer.body["metadata"].get("annotations", {}).get("ours")
        return found

    deadline = time.monotonic() + 60
    while True:
        seen = (ours("redisop", **{"always-mutated": "yes"}), ours("trigger-set"), ours("trigger-remove"))
        if seen == ("always mutated", "mutated", None):
            return
        assert time.monotonic() < deadline, f"the admission policies never took effect: {seen}"
        time.sleep(0.2)


@dataclass
class Case:
    """One verdict, and what it takes to judge it again."""

    number: int
    name: str
    edits: list[str]
    want: Any
    live: Any
    dry_run: Any
    status: int
    settled: Settled
    subresource: str | None
    action: Action = Action.UNCHANGED
    problems: list[str] = field(default_factory=list)
    misjudged: str = ""
    """What the server refuses is known by list, and random manifests are odder than ours: counted, not forbidden."""
    applied: bool = False

    @property
    def same(self) -> bool:
        return self.status == 200 and essence(self.dry_run) == essence(self.live)

    def plan(self) -> Any:
        return plan_object(self.want, self.live, self.settled, owner_uid=None, subresource=self.subresource)


def essence(obj: Any) -> Any:
    """Return all of an object that counts: not versions and times, but every value, order, and who owns what."""
    metadata = {
        name: value
        for name, value in obj["metadata"].items()
        # A NetworkPolicy with an empty list gets a new generation by every apply, and stays as it is.
        if name not in {"resourceVersion", "managedFields", "generation"}
    }
    managers = {
        (entry["manager"], entry["operation"], entry.get("subresource")): (entry["apiVersion"], entry["fieldsV1"])
        for entry in obj["metadata"].get("managedFields", ())
    }
    return {**obj, "metadata": metadata, "managedFields": managers}


class Runner:
    """Runs one case after the other; thread-safe."""

    def __init__(self, server: Server, namespace: str, owner: Any) -> None:
        self.server, self.namespace, self.owner = server, namespace, owner

    def run(self, number: int) -> Case | None:
        rng = random.Random(f"{SEED}:{number}")
        name = list(MAKERS)[number % len(MAKERS)]
        make, collection, subresource = MAKERS[name]
        target = Target(self.server, collection.format(self.namespace) + f"case-{SEED}-{number}".lower(), subresource)
        try:
            return self._run(number, rng, name, make, target)
        finally:
            self._clean(target)

    def _run(self, number, rng, name, make, target) -> Case | None:
        def wish() -> Any:
            made = named(rng, make(rng), target.path.rsplit("/", 1)[1], self.owner, bare=target.subresource is not None)
            if target.subresource is None and rng.random() < 0.1:
                made["metadata"].setdefault("labels", {})["always-mutated"] = "yes"
            return made

        settled: Settled = {}
        self._before_us(rng, wish(), target)
        want = self._first_applies(rng, wish, target, settled)
        if want is None:
            return None
        # Few manifests have an empty value, and few cases differ in nothing else.
        choice = [kind for kind in (*KINDS, "replace_empty", "replace_empty") if possible(kind, name)]
        kinds = [rng.choice(choice) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        edits = [kind for kind in kinds if Edits(target, want, rng).run(kind)]
        if rng.random() < 0.25:
            want = tweaked(rng, want, target.subresource)
        case = self._judge(number, name, edits, want, target, settled if rng.random() < 0.5 else {})
        if case.action is Action.APPLY and case.status == 200 and rng.random() < 0.5:
            self._apply(case, target)
        return case

    def _before_us(self, rng, want, target) -> None:
        bare = {**want, "metadata": {"name": want["metadata"]["name"]}}
        if target.subresource:
            bare["spec"] = {}
            bare.pop("status")
            assert self.server.apply(target.path, bare, "creator").ok
        elif rng.random() < 0.15:
            self.server.request("POST", target.path.rsplit("/", 1)[0], bare, fieldManager="earlier")

    def _first_applies(self, rng, wish, target, settled) -> Any:
        """Apply one random manifest, or a few after each other; return the last that was accepted."""
        want, applied = wish(), None
        for _ in range(6):
            answer = self.server.apply(target.url, want)
            if answer.ok:
                settle(settled, want, answer.body, target.subresource)
                applied = want
            if answer.ok and rng.random() < 0.7:
                break
            want = tweaked(rng, want, target.subresource) if answer.ok else wish()
        return applied

    def _judge(self, number, name, edits, want, target, settled) -> Case:
        """Compare verdict and dry run on one version of the object: controllers write to it meanwhile."""
        for _ in range(20):
            live = target.read()
            dry = self.server.apply(target.url, want, dryRun="All")
            if target.read()["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]:
                break
        else:
            raise AssertionError("the object never came to rest")
        case = Case(
            number, name, edits, copy.deepcopy(want), live, dry.body, dry.status, dict(settled), target.subresource
        )
        step = case.plan()
        case.action = step.action
        if step.action is Action.UNCHANGED and not case.same:
            case.problems.append("unchanged is wrong")
        refused = dry.status == 422 and any(
            word in str(dry.body) for word in ("immutable", "forbidden", "may not change")
        )
        if step.action in {Action.CONFLICT, Action.REPLACE} and dry.status == 200:
            case.misjudged = f"{step.action}, though the server would apply it"
        if refused and step.action is Action.APPLY:
            case.misjudged = "apply of an immutable field: a loop of 422s"
        if step.action is Action.APPLY and dry.status == 200:
            self._blame(case, step, target)
        return case

    def _blame(self, case: Case, step: Any, target: Target) -> None:
        """Check each conflict the server reports without force: is it a change of the plan, with that manager?"""
        answer = self.server.apply(target.url, case.want, force=False, dryRun="All")
        if answer.status != 409:
            return
        messages = collections.defaultdict(list)
        for cause in answer.body["details"].get("causes", ()):
            messages[cause["field"]].append(cause["message"])
        for path, said in messages.items():
            near = [change for change in step.changes if path.startswith(change.path) or change.path.startswith(path)]
            theirs = [change.manager for change in near if not change.ours]
            if not near:
                case.problems.append(f"the server sees a conflict at {path}, the plan no change there")
            elif (
                theirs
                and "before-first-apply" not in str(said)
                and not any(f'"{name}"' in str(said) for name in theirs)
            ):
                case.problems.append(f"conflict at {path}: the server says {said}, the plan {theirs}")

    def _apply(self, case: Case, target: Target) -> None:
        """Carry the plan out, and plan again with what the responses settled: nothing may be left to do.

        A second apply is right where the first left out what it was sent: an empty list, which nobody can own.
        """
        settled: Settled = {}
        for _ in range(2):
            answer = self._send(case, target, settled)
            settle(settled, case.want, answer.body, target.subresource)
            again = plan_object(case.want, target.read(), settled, owner_uid=None, subresource=target.subresource)
            if not any(change.new == [] for change in again.changes):
                break
        case.applied = True
        if again.action is not Action.UNCHANGED:
            case.problems.append(f"another {again.action} is to follow: {again.changes}")

    def _send(self, case: Case, target: Target, settled: Settled) -> Answer:
        for _ in range(20):
            step = plan_object(case.want, target.read(), settled, owner_uid=None, subresource=target.subresource)
            answer = self.server.apply(target.url, request(step))
            if answer.status != 409:
                break
        assert answer.ok, answer
        return answer

    def _clean(self, target: Target) -> None:
        self.server.request("PATCH", target.path, {"metadata": {"finalizers": None}}, MERGE_PATCH)
        self.server.request("DELETE", target.path, {"propagationPolicy": "Background"})


def tweaked(rng: random.Random, want: Any, subresource: str | None) -> Any:
    for _ in range(rng.randint(1, 2)):
        found = mutation(rng, want, subresource)
        if found is not None and found[0][:2] != ("metadata", "ownerReferences"):
            want = put_at(want, *found)
    return want


def report(case: Case) -> str:
    return (
        f"\ncase {case.number} of seed {SEED}: {case.name} after {case.edits or 'no edit'}: {case.action}\n"
        + "\n".join(case.problems)
        + f"\nwant: {show(case.want)}\nlive: {show(case.live)}\ndry run ({case.status}): {show(case.dry_run)}"
        + f"\nsettled: {bool(case.settled)}; plan: {case.plan().changes}"
        + f"\nagain: REDISOP_ORACLE_SEED={SEED} REDISOP_ORACLE_CASE={case.number} pytest tests/property/test_oracle.py"
    )


def run_all(oracle) -> list[Case]:
    runner = Runner(*oracle)
    numbers = [int(ONLY)] if ONLY else range(CASES)
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return [case for case in pool.map(runner.run, numbers) if case is not None]


def print_counts(cases: list[Case], seconds: float) -> None:
    verdicts = collections.Counter(
        (case.action.value, "same" if case.same else "differs" if case.status == 200 else "refused") for case in cases
    )
    print(f"\n{len(cases)} cases in {seconds:.0f} s, seed {SEED}: {dict(verdicts)}")
    same = [case for case in cases if case.same]
    needless = collections.Counter(case.name for case in same if case.action is Action.APPLY)
    print(f"over-cautious: {needless.total()} of {len(same)} where nothing would change: {dict(needless)}")
    print("edits:", dict(collections.Counter(kind for case in cases for kind in case.edits)))
    for case in cases:
        if case.misjudged:
            print(
                f"misjudged: case {case.number} {case.name} {case.edits}: {case.misjudged}; {case.dry_run.get('message')}"
            )
    print("applied and planned again:", sum(case.applied for case in cases))


def ignoring(*ops: Op, ours: bool | None = None):
    """Return a diff that is blind to some differences."""

    def blind(*arguments: Any) -> tuple[Difference, ...]:
        return tuple(
            found for found in diff(*arguments) if found.op not in ops or (ours is not None and found.ours is not ours)
        )

    return blind


def trusting_empties(*arguments: Any) -> tuple[Difference, ...]:
    return tuple(found for found in diff(*arguments) if found.new not in ({}, []))


BROKEN = {
    "values": ignoring(Op.SET, ours=True),
    "additions": ignoring(Op.SET, ours=False),
    "ownership": ignoring(Op.OWN),
    "drops": ignoring(Op.DROP),
    "order": ignoring(Op.ORDER),
    "empty values": trusting_empties,
}


def test_unchanged_is_never_wrong(oracle, monkeypatch):
    started = time.monotonic()
    cases = run_all(oracle)
    print_counts(cases, time.monotonic() - started)
    wrong = [case for case in cases if case.problems]
    wrong.sort(key=lambda case: case.action is not Action.UNCHANGED)
    headlines = "".join(f"\n{case.number} {case.name} {case.action}: {'; '.join(case.problems)}" for case in wrong)
    assert not wrong, f"{len(wrong)} wrong{headlines}" + "".join(map(report, wrong[:3]))
    if ONLY:
        return
    assert len(cases) >= CASES * 0.97
    assert sum(bool(case.misjudged) for case in cases) <= CASES / 200
    unchanged = sum(case.action is Action.UNCHANGED for case in cases)
    assert unchanged >= CASES * 0.15, "too few verdicts at stake"
    counts = collections.Counter(kind for case in cases for kind in case.edits)
    assert {kind: counts[kind] for kind in KINDS if counts[kind] < CASES / 100} == {}
    # The same cases must convict a plan that does not look at everything.
    acquitted = []
    for what, broken in BROKEN.items():
        monkeypatch.setattr(planner, "diff", broken)
        caught = sum(case.plan().action is Action.UNCHANGED and not case.same for case in cases if not case.applied)
        print(f"a plan blind to {what}: {caught} wrong")
        if not caught:
            acquitted.append(what)
    assert not acquitted
