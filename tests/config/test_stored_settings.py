"""Settings as `run.json` holds them, and back."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Utils.config.fields import plain
from Utils.config.settings import Settings
from Utils.config.stored_settings import stored_settings

ANY = st.fixed_dictionaries(
    {},
    optional={
        "target_sparsity": st.one_of(st.none(), st.decimals(0, "0.999999", places=6)),
        "com_exp": st.one_of(st.none(), st.decimals(0, 6, places=3)),
        "lr_drops": st.one_of(st.none(), st.lists(st.integers(1, 10**6), max_size=3).map(tuple)),
        "mean": st.one_of(st.none(), st.tuples(st.floats(0, 1))),
        "draws": st.lists(st.decimals("0.01", 1, places=4), min_size=1, max_size=3).map(tuple),
        "sample": st.integers(0, 10**9),
        "lr": st.one_of(st.none(), st.floats(1e-6, 1)),
        "shuffle": st.booleans(),
        "pruner": st.sampled_from(["snip", "random/igq"]),
    },
)


@given(ANY)
def test_settings_come_back_with_their_key(changes):
    settings = Settings().with_values(**changes)
    stored = json.loads(json.dumps({name: plain(value) for name, value in settings.values().items()}))
    assert stored_settings(stored) == settings
    assert stored_settings(stored).key() == settings.key()


def test_values_of_other_versions():
    assert stored_settings({"sample": 3, "gone": 1}) == Settings().with_values(sample=3)
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        stored_settings({"sample": "three"})


def test_decimals_are_exact():
    assert stored_settings({"target_sparsity": "0.9995"}).pruning.target_sparsity == Decimal("0.9995")
