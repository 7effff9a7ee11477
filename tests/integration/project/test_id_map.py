"""A packed map in Redis behaves as a dict does."""

from typing import Any

import numpy as np
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prepal.project.id_map import IdMap

IDS = st.integers(1, 400) | st.integers(10**9, 10**9 + 5)
STEPS = st.lists(
    st.tuples(st.just("put"), st.dictionaries(IDS, st.integers(1, 2**60), max_size=20))
    | st.tuples(st.just("delete"), st.lists(IDS, max_size=20))
    | st.tuples(st.just("clear"), st.none()),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_a_packed_map_holds_what_a_dict_would(redis: redis.Redis, steps: list[tuple[str, Any]]) -> None:
    redis.flushall()
    packed, plain = IdMap(redis, "some", "<i8"), {}
    for step, what in steps:
        if step == "put":
            packed.put(what)
            plain |= what
        elif step == "delete":
            packed.delete(what)
            plain = {key: value for key, value in plain.items() if key not in what}
        else:
            packed.clear()
            plain = {}
        ids, values = packed.all()
        assert dict(zip(ids.tolist(), values.tolist(), strict=True)) == plain
        assert ids.tolist() == sorted(plain)
        assert len(packed) == len(plain)
        assert packed.get([1, 2, 3, 10**9]) == {key: plain[key] for key in (1, 2, 3, 10**9) if key in plain}


def test_texts_are_kept_as_they_are_and_many_fit_into_little(redis: redis.Redis) -> None:
    packed = IdMap(redis, "some", "S32")
    packed.put({task: f"{task:032x}" for task in range(1, 20_001)})
    ids, texts = packed.all()
    assert ids.tolist() == list(range(1, 20_001))
    np.testing.assert_array_equal(texts, np.array([f"{task:032x}" for task in range(1, 20_001)], "S32"))
    held = sum(redis.memory_usage(key) for key in redis.keys("some*"))
    assert held < 45 * 20_000
