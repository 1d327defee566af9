"""Properties of diff that hold for any object; the shapes stand for schemas as in tests.unit.objects."""

import copy

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from redisop.fieldset import Op, diff, project, restrict
from tests.unit.objects import applied, set_of_fields

quick = settings(max_examples=60, deadline=None)
names = st.sampled_from(["a", "b", "c", "name", "redis.conf"])
scalars = st.one_of(st.text(max_size=3), st.integers(-2, 2), st.booleans(), st.floats(allow_nan=False, width=16))
plain = st.recursive(
    scalars, lambda inner: st.dictionaries(names, inner, max_size=2) | st.lists(inner, max_size=2), max_leaves=4
)


def items(inner):
    return st.lists(
        st.builds(
            lambda name, rest: {**rest, "name": name},
            st.sampled_from("pqrs"),
            st.dictionaries(names, inner, max_size=2),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda item: item["name"],
    )


values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.dictionaries(names, inner, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(["atomic1", "atomic2"]), plain, min_size=1, max_size=2),
        items(inner),
        st.lists(st.text(max_size=2), min_size=1, max_size=3, unique=True),
    ),
    max_leaves=8,
)
wants = st.builds(
    lambda spec, labels: {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "labels": labels}, "spec": spec},
    st.dictionaries(names, values, min_size=1, max_size=3),
    st.dictionaries(names, st.text(max_size=2), min_size=1, max_size=2),
)


def leaves(value, name="", path=()):
    """Yield the path of every leaf as a server-side apply sees it: scalars and atomic values."""
    if isinstance(value, dict) and value and not name.startswith("atomic"):
        for key, item in value.items():
            if not (key == "name" and path and isinstance(path[-1], int)):
                yield from leaves(item, key, (*path, key))
    elif isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        for number, item in enumerate(value):
            yield from leaves(item, "", (*path, number))
    elif (
        isinstance(value, list)
        and value
        and all(isinstance(item, str) for item in value)
        and not name.startswith("atomic")
    ):
        yield from ((*path, number) for number in range(len(value)))
    else:
        yield path


def at(value, path):
    for step in path:
        value = value[step]
    return value


@quick
@given(wants)
def test_what_was_applied_is_unchanged(want):
    assert diff(want, set_of_fields(want), applied(want)) == ()


@quick
@given(wants, st.data())
def test_any_change_of_an_owned_leaf_is_seen(want, data):
    live = copy.deepcopy(want)
    paths = list(leaves({"spec": want["spec"]}))
    assume(paths)
    path = data.draw(st.sampled_from(paths))
    new = data.draw(scalars)
    parent = at(live, path[:-1])
    if isinstance(parent, list):
        assume(isinstance(new, str))
        assume(new not in parent)
    assume(type(parent[path[-1]]) is not type(new) or parent[path[-1]] != new)
    assume(not (type(new) in {int, float} and type(parent[path[-1]]) in {int, float} and parent[path[-1]] == new))
    parent[path[-1]] = new
    found = diff(want, set_of_fields(want), live)
    assert found != ()
    # The same change of mind is a change too.
    assert diff(live, set_of_fields(want), want) != ()


@quick
@given(wants, st.data())
def test_any_removal_of_an_owned_leaf_is_seen(want, data):
    live = copy.deepcopy(want)
    paths = list(leaves({"spec": want["spec"]}))
    assume(paths)
    path = data.draw(st.sampled_from(paths))
    at(live, path[:-1]).pop(path[-1])
    assert diff(want, set_of_fields(want), live) != ()


@quick
@given(wants, wants)
def test_diff_is_empty_exactly_where_fields_and_projection_agree(want, other):
    """Independent statement of the same rule: same set of fields, and what is ours has the wanted values in the wanted order."""
    fields, live = set_of_fields(other), applied(other)
    mine = {name: value for name, value in want.items() if name not in {"apiVersion", "kind"}}
    mine["metadata"] = {"labels": want["metadata"]["labels"]}
    agrees = as_text(set_of_fields(want)) == as_text(fields) and as_text(project(fields, live)) == as_text(mine)
    assert (diff(want, fields, live) == ()) is agrees


def as_text(value):
    """Return data as text that tells True from 1, and 1 from nothing else than 1.0."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{as_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_text, value)) + "]"
    return repr(value + 0.0 or 0.0) if type(value) in {int, float} else repr(value)


@quick
@given(wants, wants)
def test_foreign_additions_change_no_verdict(want, addition):
    live = applied(want)
    before = diff(want, set_of_fields(want), live)
    for name, value in addition["spec"].items():
        live["spec"].setdefault(name + "-foreign", value)
    for value in live["spec"].values():
        if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
            value.insert(len(value) // 2, {"name": "foreign"})
    live["status"] = addition["spec"]
    if any(name.startswith("atomic") for name in want["spec"]):
        return
    assert diff(want, set_of_fields(want), live) == before


@quick
@given(wants, wants)
def test_without_an_entry_everything_wanted_is_named_once(want, other):
    found = diff(want, {}, applied(other))
    paths = [difference.path for difference in found]
    assert len(set(paths)) == len(paths)
    assert {difference.op for difference in found} <= {Op.SET, Op.OWN}
    assert not any(difference.ours for difference in found)


@quick
@given(wants, wants)
def test_what_is_shown_of_a_live_object_has_all_that_is_ours(want, other):
    fields, live = set_of_fields(other), applied(other)
    assert restrict(other, fields, live) == other
    shown = restrict(want, fields, live)
    assert as_text(project(fields, shown)) == as_text(project(fields, live))
