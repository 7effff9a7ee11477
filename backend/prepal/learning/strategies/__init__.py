"""The strategies by name: every module below this package that has a `STRATEGY` is one."""

import difflib
import importlib
import pkgutil

from prepal.learning.pool import Strategy
from prepal.learning.strategies import auto


def names() -> list[str]:
    """Return the names of all strategies, sorted."""
    return sorted(_STRATEGIES)


def get(name: str) -> Strategy:
    """Return the strategy of that name.

    Raises:
        ValueError: if there is none; names those there are.
    """
    if name in _STRATEGIES:
        return _STRATEGIES[name]
    close = difflib.get_close_matches(name, _STRATEGIES, n=1)
    meant = f' Did you mean "{close[0]}"?' if close else ""
    raise ValueError(f'There is no strategy "{name}".{meant} The strategies are {", ".join(names())}.')


def reasons(strategy: Strategy, labels: int, n: int, *, has_classifier: bool) -> list[str]:
    """Return by what a strategy picks each of the next n texts, after so many labels.

    Of `auto` that is `doubt`, `coverage`, or `random` where it draws; of others, which do all alike, it is `strategy`.
    """
    if strategy.name != auto.STRATEGY.name:
        return [strategy.name if strategy.name == "random" else "strategy"] * n
    if not has_classifier:
        return ["random" if labels else "coverage"] * n
    return ["coverage" if number % auto._COVER_EVERY == 0 else "doubt" for number in range(labels, labels + n)]


def _discover() -> dict[str, Strategy]:
    modules = (importlib.import_module(found.name) for found in pkgutil.walk_packages(__path__, f"{__name__}."))
    found: list[Strategy] = [module.STRATEGY for module in modules if hasattr(module, "STRATEGY")]
    return {strategy.name: strategy for strategy in found}


_STRATEGIES = _discover()
