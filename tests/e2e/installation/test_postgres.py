"""The loop once more, with Label Studio on PostgreSQL."""

import threading
from collections import Counter

from tests.helpers.api import LabelStudioApi
from tests.helpers.projects import Loop, tickets

from prepal.machine.up import Installation


def test_the_loop_on_postgresql(postgres_installation: Installation, postgres_label_studio: LabelStudioApi) -> None:
    texts, answers = tickets(500)
    loop = Loop.of(postgres_installation, postgres_label_studio, [{"text": text} for text in texts])
    loop.wait_until_ranked(500)
    for number in range(20):
        loop.annotate_next(answers)
        loop.wait_for_round()
        record, served = loop.known.round, loop.api.next(loop.id)
        assert record is not None
        assert served is not None
        assert record.labels == number + 1
        assert served["id"] == record.head[0]

    tokens = [postgres_label_studio.new_annotator(f"pg{number}@example.com") for number in range(3)]
    served_to: Counter[int] = Counter()

    def work(token: str) -> None:
        for _ in range(20):
            served_to[loop.annotate_next(answers, token)["id"]] += 1

    threads = [threading.Thread(target=work, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(served_to) == 60
    loop.wait_for_round()
    record = loop.known.round
    assert record is not None
    assert record.labels == 80
