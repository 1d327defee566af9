from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisop.errors import InputError
from redisop.quantity import canonical, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5", "500m"),
        ("0.50", "500m"),
        ("1000k", "1M"),
        ("100000", "100k"),
        ("2048", "2048"),
        ("1023Ki", "1023Ki"),
        ("0Gi", "0"),
        ("-1000m", "-1"),
        ("+5", "5"),
        (".5", "500m"),
        ("5.", "5"),
        ("0.1Ki", "102400m"),
        ("1.1Ki", "1126400m"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1e4", "10e3"),
        ("1.5e3", "1500"),
        ("7Ei", "7Ei"),
    ],
)
def test_canonical_spelling(text, expected):
    assert canonical(text) == expected


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "1K", "Gi", "1e", "--1", "1.2.3", "1Gi\n", "\u0661"])
def test_not_a_quantity(text):
    with pytest.raises(InputError, match="not a Kubernetes quantity"):
        canonical(text)


def test_more_than_the_server_counts():
    with pytest.raises(InputError, match="larger than"):
        canonical("8Ei")


quantities = st.builds(
    "{}{}".format,
    st.one_of(st.integers(0, 10**7), st.decimals(0, 10**4, places=3)),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "u", "n", "e3", "e-3"]),
)


@given(quantities)
def test_canonical_is_a_fixed_point_and_keeps_the_value(text):
    once = canonical(text)
    assert canonical(once) == once
    assert parse(once) == parse(text)


def test_values_compare_across_spellings():
    assert parse("1Gi") == parse("1024Mi") == Decimal(2**30)
    assert parse("1Gi") > parse("1G")
