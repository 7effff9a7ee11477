"""How much a round's classifier differs from the ones before it, by what they predict for the same tasks."""

import numpy as np

from prepal import records
from prepal.learner.fitting import Round
from prepal.learner.memory import Memory
from prepal.learner.ranking import Beliefs
from prepal.learning.quality.stopping import Stability, agreement
from prepal.project import Compared, RoundRecord

# Successive classifiers are compared on so many texts of a larger pool: the kappa is exact to a thousandth then.
_COMPARED_ON = 20_000


def changed(memory: Memory, beliefs: Beliefs) -> float | None:
    """Return the share of the tasks in the pool both now and before whose predicted label is another one."""
    before = memory.predicted
    if beliefs.probabilities is None:
        memory.predicted = None
        return None
    memory.predicted = (memory.task_ids, beliefs.mask, beliefs.chosen)
    # While tasks come in there is no telling, and nobody asks.
    if before is None or before[0] is not memory.task_ids:
        return None
    _, mask, chosen = before
    then, now = chosen.T.compress(beliefs.mask[mask], axis=1), beliefs.chosen.T.compress(mask[beliefs.mask], axis=1)
    return float((then != now).any(axis=0).mean()) if now.size else None


def stability(this: Round, beliefs: Beliefs, previous: RoundRecord | None) -> Stability:
    """Return how well successive classifiers agree on tasks that both saw without a label."""
    known = (records.fill(Stability, previous.stability) if previous else None) or Stability()
    memory, project, config, rows = this.memory, this.project, this.config, this.labelled.rows
    labelled, count = memory.task_ids[this.labelled.places], len(rows)
    if beliefs.probabilities is None or not count:
        return known
    before = project.compared()
    if before is not None and before.choices != config.meaning:
        # Of what is no choice any more nothing is to be said.
        known, before = Stability(), None
    if before is not None and known.labels and not known.due(count, before.apart(labelled, rows)):
        return known
    some = memory.lot[-_COMPARED_ON:]
    places = np.sort(some[beliefs.mask[some]])
    tasks, chosen = memory.task_ids[places], beliefs.chosen[np.searchsorted(beliefs.pool, places)]
    project.set_compared(Compared(config.meaning, labelled, rows, tasks, chosen))
    if before is None:
        return known.after(count, None)
    _, then_at, now_at = np.intersect1d(before.task_ids, tasks, assume_unique=True, return_indices=True)
    if not len(then_at):
        return known.after(count, None)
    then, now = before.chosen[then_at], chosen[now_at]
    if config.multiple:
        return known.after(count, agreement(then, now))
    return known.after(count, agreement(then.argmax(axis=1), now.argmax(axis=1)))
