"""How a training is chosen, and what fits into memory."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from prepal_workers.training.recipe import Wishes, choose_recipe
from prepal_workers.training.trainer import tokens_at_once

BERT = SimpleNamespace(hidden_size=768, num_hidden_layers=12, num_attention_heads=12)
GIGABYTE = 1_000_000_000


def test_few_labels_are_seen_often_and_many_seldom() -> None:
    few, some, many = (choose_recipe(n, 22_700_000, Wishes()) for n in (50, 300, 50_000))
    assert (few.epochs, some.epochs, many.epochs) == (12, 6, 3)
    assert few.batch_size < some.batch_size < many.batch_size
    assert few.method == "fine-tune"


def test_larger_models_get_smaller_steps_and_the_largest_lora() -> None:
    small, base, huge = (choose_recipe(300, n, Wishes()) for n in (22_700_000, 110_000_000, 7_000_000_000))
    assert small.learning_rate > base.learning_rate
    assert (small.lora, base.lora, huge.lora) == (False, False, True)
    assert not choose_recipe(300, 7_000_000_000, Wishes(lora=False)).lora


def test_everything_can_be_wished_otherwise() -> None:
    recipe = choose_recipe(300, 22_700_000, Wishes(1e-3, 2, 5, "fine-tune", True))
    assert (recipe.learning_rate, recipe.epochs, recipe.batch_size, recipe.lora) == (1e-3, 2, 5, True)
    assert choose_recipe(300, 22_700_000, Wishes(epochs=0)).method == "logistic"


def test_contrast_sees_as_many_batches_whatever_the_number_of_labels() -> None:
    for n in (8, 20, 64):
        recipe = choose_recipe(n, 22_700_000, Wishes(method="contrast"))
        assert recipe.batch_size <= n
        assert 38 <= recipe.epochs * -(-n // recipe.batch_size) <= 42


def test_a_batch_is_taken_in_parts_where_memory_is_short() -> None:
    assert tokens_at_once(BERT, 110_000_000, 128, 64 * GIGABYTE) == 8192
    assert 128 <= tokens_at_once(BERT, 110_000_000, 128, 8 * GIGABYTE) < 8192


@given(st.integers(0, 200 * GIGABYTE), st.integers(0, 10 * GIGABYTE), st.integers(1, 512))
def test_one_text_always_fits(memory: int, parameters: int, longest: int) -> None:
    assert longest <= tokens_at_once(BERT, parameters, longest, memory) <= 8192


def test_a_model_that_says_nothing_of_its_size_is_taken_for_a_small_one() -> None:
    assert tokens_at_once(SimpleNamespace(), 1, 128, 0) == 8192
