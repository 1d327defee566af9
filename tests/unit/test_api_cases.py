"""`parse` gives the verdict and blames the field that the API server does (tests/controlplane/test_crds.py: the same table)."""

import pytest

from redisop.api import ApiKey, RedisHttpInstance, parse
from redisop.errors import InputError
from tests.resource_cases import BAD, GOOD, INSTANCE, KEY, UNKNOWN, WHOLE_INSTANCE, WHOLE_KEY, manifest


def name_of(case):
    return f"{case.field}-{list(case.spec)}"[:80]


@pytest.mark.parametrize("case", BAD, ids=name_of)
def test_a_bad_manifest_is_refused_at_its_field(case):
    with pytest.raises(InputError) as caught:
        parse(manifest(case.kind, case.spec, case.name))
    assert caught.value.where == case.field
    assert case.says in str(caught.value)


@pytest.mark.parametrize("case", UNKNOWN, ids=name_of)
def test_a_field_that_does_not_exist_is_refused(case):
    with pytest.raises(InputError, match="not a field") as caught:
        parse(manifest(case.kind, case.spec))
    assert caught.value.where == case.field


@pytest.mark.parametrize(("kind", "spec"), GOOD)
def test_a_good_manifest_is_read_strictly_and_leniently(kind, spec):
    model = {INSTANCE: RedisHttpInstance, KEY: ApiKey}[kind]
    given = manifest(kind, spec)
    assert parse(given) == model.model_validate(given)


@pytest.mark.parametrize(("kind", "spec"), [(INSTANCE, WHOLE_INSTANCE), (KEY, WHOLE_KEY)])
def test_nothing_of_a_manifest_is_lost(kind, spec):
    written = parse(manifest(kind, spec)).spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    if kind == INSTANCE:
        written["resources"]["limits"]["cpu"] = int(written["resources"]["limits"]["cpu"])
    assert written == spec


def test_the_whole_examples_name_every_field_there_is():
    left = [
        f"{kind}: {path}"
        for kind, spec in ((INSTANCE, WHOLE_INSTANCE), (KEY, WHOLE_KEY))
        for path in _absent(parse(manifest(kind, spec)).spec)
    ]
    # They exclude other fields that are given.
    assert left == ["RedisHttpInstance: image", "ApiKey: ttl"]


def _absent(model, prefix=""):
    for name in type(model).model_fields:
        value = getattr(model, name)
        if value is None:
            yield prefix + name
        elif hasattr(type(value), "model_fields"):
            yield from _absent(value, f"{prefix}{name}.")
