"""How a contestant of any library enters an experiment."""

from benchmarks.choosing.contestants import ours
from benchmarks.choosing.contestants.contestant import OURS, Chooser, Contestant
from benchmarks.texts import Texts


def enter(contestant: Contestant, texts: Texts, seed: int) -> Chooser:
    """Return what goes through one experiment; it may move the texts' vectors about."""
    if contestant.library == OURS:
        return ours.enter(contestant, texts, seed)
    from benchmarks.choosing.contestants import peers  # the peers are not loaded where only ours is measured

    return peers.enter(contestant, texts, seed)
