import base64
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from redisop.graph import build
from redisop.kinds import Ref, ref_of
from redisop.plan import MISSING, Action, Change, Op, Plan, Step, plan
from redisop.render import document, text
from redisop.values import Generated, Pending
from tests.unit.objects import applied, config_map, instance, other, stateful_set

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/plan.schema.json").read_text())
KEY = Ref("redis.kubegateway.io/v1alpha1", "RedisHttpInstance", "ns", "demo")
POD = Ref("v1", "Pod", "ns", "demo-redis-0")


def planned(manifests, before=(), *, others=(), tamper=None, settled=None):
    nodes = build(instance(), before).nodes
    live = {node.ref: applied(node.want, others=others, uid=node.ref.name) for node in nodes}
    if tamper:
        tamper(live)
    return plan(build(instance(), manifests), live, settled or {})


def checked(*plans, **options):
    made = document(plans, **options)
    jsonschema.validate(made, SCHEMA)
    json.dumps(made)
    return made


def secret(name="s", **data):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["action"]["enum"] == [action.value for action in Action]
    assert SCHEMA["$defs"]["change"]["properties"]["op"]["enum"] == [op.value for op in Op]


def test_nothing_to_do():
    made = planned([(0, config_map(a="1"))], [(0, config_map(a="1"))])
    assert text([made]) == "No changes: 1 object as wanted.\n"
    assert text([]) == "No changes: 0 objects as wanted.\n"
    assert "=   unchanged ConfigMap/c" in text([made], show_unchanged=True)
    assert checked(made)["empty"] is True


def test_a_plan_reads_field_by_field():
    def tamper(live):
        obj = live[Ref("v1", "ConfigMap", "ns", "c")]
        obj["data"]["drift"] = "theirs"
        del obj["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:drift"]

    made = planned(
        [
            (0, config_map(a="2", b="new", drift="x", conf="maxmemory 1\nsave 60 1\n")),
            (1, secret(x=Pending("Secret/other"))),
            (3, stateful_set(serviceName="other")),
        ],
        [
            (0, config_map(a="1", gone="bye", drift="x", conf="maxmemory 2\nsave 60 1\n")),
            (0, config_map("extra")),
            (3, stateful_set()),
        ],
        others=[other("kubectl-edit", {"f:data": {"f:drift": {}}})],
        tamper=tamper,
    )
    made = Plan(made.key, (*made.steps, Step(Action.RESTART, POD, 9, None, {}, (), ("the image changes",))))
    assert text([made], notes={KEY: ["and then the Pod is restarted"]}) == (
        "RedisHttpInstance ns/demo\n"
        "  ~   apply     ConfigMap/c\n"
        '      ~ .data.a: "1" → "2"\n'
        '      + .data.b: "new"\n'
        '      ~ .data.drift: "theirs" → "x"  (by kubectl-edit at 2026-02-02T00:00:00Z)\n'
        "      ~ .data.conf:\n"
        "          @@ -1,2 +1,2 @@\n"
        "          -maxmemory 2\n"
        "          +maxmemory 1\n"
        "           save 60 1\n"
        '      - .data.gone: "bye"\n'
        "  +   create    Secret/s\n"
        "        waits for Secret/other\n"
        "  -/+ replace   StatefulSet/s\n"
        "        ImmutableField: .spec.serviceName cannot be changed in place\n"
        '      ~ .spec.serviceName: "headless" → "other"\n'
        "  -   delete    ConfigMap/extra\n"
        "  *   restart   Pod/demo-redis-0\n"
        "        the image changes\n"
        "  and then the Pod is restarted\n"
        "\n"
        "Plan: 1 to create, 1 to change, 1 to replace, 1 to delete, 1 to restart.\n"
    )
    shown = checked(made, notes={KEY: ["note"]})
    assert shown["counts"]["replace"] == 1
    assert shown["plans"][0]["notes"] == ["note"]
    (drift,) = [change for change in shown["plans"][0]["steps"][0]["changes"] if change["path"] == ".data.drift"]
    assert drift == {
        "path": ".data.drift",
        "op": "set",
        "ours": False,
        "old": "theirs",
        "new": "x",
        "manager": "kubectl-edit",
        "time": "2026-02-02T00:00:00Z",
    }


def test_a_field_to_own_and_an_order():
    items = [{"name": "a"}, {"name": "b"}]
    want = {**config_map(), "items": items}

    def tamper(live):
        (obj,) = live.values()
        obj["items"].reverse()
        del obj["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"]

    made = planned([(0, want)], [(0, want)], tamper=tamper)
    shown = text([made])
    assert '      = .metadata.labels.a: "b"  (to own)\n' in shown
    assert '      ~ .items: ["[name=\\"b\\"]", "[name=\\"a\\"]"] → ["[name=\\"a\\"]", "[name=\\"b\\"]"]\n' in shown
    checked(made)


def test_conflicts_say_why():
    def tamper(live):
        for obj in live.values():
            obj["metadata"]["ownerReferences"] = []
            obj["metadata"]["annotations"] = {}

    made = planned([(0, config_map(a="2"))], [(0, config_map(a="1"))], tamper=tamper)
    shown = text([made], diff=True)
    assert "  !   conflict  ConfigMap/c\n        NameConflict: ConfigMap/c exists and has no controller owner" in shown
    assert shown.endswith("Plan: 1 in conflict.\n")
    checked(made)


def test_a_diff_shows_our_fields_only():
    def tamper(live):
        for obj in live.values():
            obj["data"]["theirs"] = "secret sauce"

    made = planned([(0, config_map(a="1\n3\n"))], [(0, config_map(a="1\n2\n"))], tamper=tamper)
    shown = text([made], diff=True)
    assert (
        "      --- ConfigMap/c (live)\n      +++ ConfigMap/c (planned)\n      @@ -2,7 +2,7 @@\n"
        "       data:\n         a: |\n           1\n      -    2\n      +    3\n       kind: ConfigMap\n"
    ) in shown
    assert "sauce" not in shown
    created = text([planned([(0, config_map(a="1"))])], diff=True)
    assert "      +kind: ConfigMap\n" in created
    deleted = text([planned([], [(0, config_map(a="1"))])], diff=True)
    assert "      -kind: ConfigMap\n" in deleted


def test_color_only_when_asked():
    made = planned([(0, config_map(a="1"))])
    assert "\x1b[" not in text([made])
    assert text([made], color=True).splitlines()[1] == "\x1b[32m  +   create    ConfigMap/c\x1b[0m"


def test_what_others_wrote_cannot_steer_the_terminal():
    def tamper(live):
        (obj,) = live.values()
        obj["data"] = {"a": "\x1b[2Jgone\u202e\x9b", "b": "x\r\n\x1b]0;t\x07"}

    made = planned(
        [(0, config_map(a="1", b="2"))],
        [(0, config_map(a="1", b="2"))],
        others=[other("m\x1b[31m", {"f:data": {"f:a": {}}})],
        tamper=tamper,
    )
    for diff in (False, True):
        shown = text([made], diff=diff)
        assert all(char.isprintable() or char == "\n" for char in shown)
    checked(made)


PLANTED = [f"hunter2-{number}-{'x' * number}" for number in range(12)]
ENCODED = [base64.b64encode(value.encode()).decode() for value in PLANTED]


def secrets_everywhere():
    def spoil(live):
        for obj in live.values():
            if obj["kind"] == "Secret":
                obj["data"] = {**obj["data"], "a": ENCODED[1], "theirs": ENCODED[2]}
                obj["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = PLANTED[3]
            if obj["metadata"]["name"] in {"taken", "frozen"}:
                obj["immutable"] = True
            if obj["metadata"]["name"] == "taken":
                obj["metadata"]["ownerReferences"] = []
                obj["metadata"]["annotations"] = {"x": PLANTED[4]}
            if obj["metadata"]["name"] == "nulled":
                obj["data"] = {}
                obj["metadata"]["managedFields"] = []

    annotated = secret("annotated", a=ENCODED[5])
    annotated["metadata"]["annotations"] = {"copy": PLANTED[6]}
    text_data = {**secret("text"), "stringData": {"a": PLANTED[7]}}
    before = [
        (0, secret("changed", a=ENCODED[0], b=ENCODED[8], dropped=ENCODED[9])),
        (0, secret("taken", a=ENCODED[0])),
        (0, secret("frozen", a=ENCODED[0])),
        (0, secret("deleted", a=ENCODED[0])),
        (0, annotated),
        (0, secret("nulled", a=ENCODED[0])),
        (0, secret("emptied", a=ENCODED[0])),
    ]
    after = [
        (0, secret("changed", a=ENCODED[10], b=ENCODED[8], added=ENCODED[11])),
        (0, secret("taken", a=ENCODED[10])),
        (0, secret("frozen", a=ENCODED[10])),
        (0, secret("created", a=ENCODED[10], generated=Generated(), pending=Pending("Secret/x"))),
        (0, text_data),
        (0, {**annotated, "metadata": {"name": "annotated", "annotations": {"copy": PLANTED[10]}}}),
        (0, secret("nulled", a=ENCODED[10])),
        (0, secret("emptied")),
    ]
    made = planned(after, before, tamper=spoil)
    assert {step.action for step in made.steps} == {Action.CREATE, Action.APPLY, Action.DELETE, Action.CONFLICT}
    whole = Change(".data", Op.SET, {"a": ENCODED[0]}, {"a": ENCODED[1]})
    odd = Step(Action.APPLY, Ref("v1", "Secret", "ns", "odd"), 0, None, None, (whole,))
    return Plan(made.key, (*made.steps, odd))


@pytest.mark.parametrize("options", [{}, {"diff": True}, {"color": True}, {"show_unchanged": True, "diff": True}])
def test_no_text_shows_a_secret(options):
    shown = text([secrets_everywhere()], **options)
    assert [value for value in PLANTED + ENCODED if value in shown] == []
    assert "hunter2" not in shown
    assert "(hidden)" in shown
    assert "(hidden, changed)" in shown
    assert "(generated)" in shown or "diff" not in options


def test_no_document_shows_a_secret():
    made = checked(secrets_everywhere())
    for shown in (json.dumps(made), yaml.safe_dump(made)):
        assert [value for value in PLANTED + ENCODED if value in shown] == []
        assert "(hidden, changed)" in shown
        assert "(generated)" in shown
        assert "(known after apply)" in shown


def test_a_hidden_value_tells_nothing_but_that_it_changes():
    def shown(old, new):
        return text([planned([(0, secret(a=new))], [(0, secret(a=old))])])

    assert shown("MQ==", "Mg==") == shown("MTIz", "c2VjcmV0IHNhdWNl")
    assert ".data.a: (hidden) → (hidden, changed)" in shown("MQ==", "Mg==")
    assert text([planned([(0, secret(a=Generated()))], [(0, secret(b="x"))])]).count("(generated)") == 1


def test_hiding_does_not_change_the_plan():
    made = planned([(0, secret(a="MQ=="))])
    document([made])
    text([made], diff=True)
    (step,) = made.steps
    assert step.want is not None
    assert step.want["data"] == {"a": "MQ=="}
    assert ref_of(step.want) == step.ref
    assert MISSING is not None
