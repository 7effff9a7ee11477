"""What `/metrics` tells Prometheus, read from Redis when it asks; it costs little at any size of a project."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import cast

import redis
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from rq.job import Job
from rq.utils import utcparse

from prepal.errors import PrepalError
from prepal.project import Project, all_projects, readable
from prepal.queues.requests import ADAPT, LEARN, SYNC, queue
from prepal.queues.waiting import QUEUE as EMBED
from prepal.queues.waiting import WaitingTexts
from prepal.reports.view import View

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# Urgent jobs are put in front, so the oldest one is not always the first; it is among these but in a flood of names.
_LOOKED_AT = 50


def render(connection: redis.Redis, waiting: WaitingTexts) -> bytes:
    """Every metric, in Prometheus' text format."""
    return generate_latest(_Collector(connection, waiting))


class _Collector(Collector):
    """Reads Redis once for each scrape, so that it does not matter which process of the backend is asked."""

    def __init__(self, connection: redis.Redis, waiting: WaitingTexts) -> None:
        self._connection = connection
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        """All metrics of all projects, and of the queues."""
        projects = all_projects(self._connection)
        yield from _of_projects(projects)
        yield from _of_questions(projects)
        texts = len(self._waiting) + sum(map(_waiting_for_adapted, projects))
        yield GaugeMetricFamily("prepal_waiting_texts", "Texts that wait for an encoder.", texts)
        yield from self._of_queues()

    def _of_queues(self) -> Iterator[Metric]:
        length = GaugeMetricFamily("prepal_queue_jobs", "Jobs that wait.", labels=["queue"])
        age = GaugeMetricFamily(
            "prepal_queue_oldest_job_age_seconds", "How long the oldest job has waited.", labels=["queue"]
        )
        failed = GaugeMetricFamily(
            "prepal_queue_failed_jobs",
            "Jobs that failed in the last hour (embed: day); those that Label Studio refused are among them.",
            labels=["queue"],
        )
        for name in (LEARN, SYNC, EMBED, ADAPT):
            jobs = queue(self._connection, name)
            length.add_metric([name], len(jobs))
            age.add_metric([name], self._oldest_s(jobs.get_job_ids(0, _LOOKED_AT)))
            failed.add_metric([name], jobs.failed_job_registry.get_job_count(cleanup=False))
        yield from (length, age, failed)

    def _oldest_s(self, jobs: list[str]) -> float:
        with self._connection.pipeline(transaction=False) as pipe:
            for job in jobs:
                pipe.hget(Job.key_for(job), "enqueued_at")
            found = cast(list[bytes | None], pipe.execute())
        times = []
        for raw in filter(None, found):
            # Somebody else may have written something that is no time.
            with suppress(ValueError):
                times.append(utcparse(raw.decode()).timestamp())
        return max(0.0, time.time() - min(times)) if times else 0.0


def _waiting_for_adapted(project: Project) -> int:
    """How many texts wait for encoders that were adapted to a project's labels."""
    with suppress(PrepalError), readable(project):
        return sum(len(WaitingTexts(project.connection, name)) for name in project.adapted_encoders())
    return 0


def _of_questions(projects: list[Project]) -> Iterator[Metric]:
    """What is told of each question where a project asks several."""
    of = ["project", "question"]
    labels = GaugeMetricFamily("prepal_question_labels", "Labels that a question's classifier learnt from.", labels=of)
    accuracy = GaugeMetricFamily(
        "prepal_question_accuracy", "Accuracy of a question's classifier, estimated on audit tasks.", labels=of
    )
    for project in projects:
        # That it cannot be read is told with the project.
        with suppress(PrepalError), readable(project):
            for view in View(project).questions if project.info.several else ():
                if view.config is not None and view.record is not None:
                    labels.add_metric([str(project.id), view.config.from_name], view.record.labels)
                    if view.record.accuracy is not None:
                        accuracy.add_metric([str(project.id), view.config.from_name], view.record.accuracy["estimate"])
    yield from (labels, accuracy)


def _of_projects(projects: list[Project]) -> Iterator[Metric]:
    def gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"prepal_{name}", what, labels=["project", *labels])

    rounds = CounterMetricFamily("prepal_rounds", "Rounds that finished.", labels=["project"])
    seconds = gauge("round_seconds", "Seconds that each phase of the newest round took.", "phase")
    finished = gauge("round_finished_timestamp_seconds", "When the newest round finished.")
    labels = gauge("labels", "Labels that the newest round learnt from.")
    twins = gauge("twin_labels", "Tasks that take the label of a task with the same text.")
    annotations = gauge("annotations", "Annotations that are known, skipped ones included.")
    pool = gauge("pool_size", "Tasks without a label that the newest round ranked.")
    tasks = gauge("tasks", "Tasks that Label Studio has.")
    known = gauge("tasks_known", "Tasks that were read from Label Studio.")
    embedded = gauge("tasks_embedded", "Tasks with a vector that the newest round knew of.")
    behind = gauge("facts_behind", "Facts that no finished round knows of.")
    problem = gauge("project_problem", "1 while the project cannot be served.")
    trouble = gauge("project_failures", "How often a job of the project failed since it last went well.", "step")
    judged = gauge("audit_labels", "Labels of audit tasks that the accuracy rests on.")
    accuracy = gauge("accuracy", "Accuracy on all texts, as far as labels tell.")
    low = gauge("accuracy_low", "Lower end of the accuracy's 95 % interval.")
    high = gauge("accuracy_high", "Upper end of the accuracy's 95 % interval.")
    learnt = gauge("adapted_labels", "Labels that the encoder learnt from on which the ranking rests.")
    adapted = gauge("adaptation_finished_timestamp_seconds", "When the encoder was last trained on the labels.")

    def add(view: View) -> None:
        of, record, project = [str(view.project.id)], view.record, view.project
        rounds.add_metric(of, record.number if record else 0)
        behind.add_metric(of, view.facts_behind)
        tasks.add_metric(of, view.info.task_count)
        known.add_metric(of, project.task_count())
        for failing in view.troubles:
            trouble.add_metric([*of, failing.job], failing.count)
        annotations.add_metric(of, int(project.connection.hlen(project.key("annotations"))))
        labels.add_metric(of, record.labels if record else 0)
        twins.add_metric(of, record.twins if record else 0)
        pool.add_metric(of, record.ranked if record else 0)
        embedded.add_metric(of, record.labels + record.twins + record.ranked if record else 0)
        if record is not None:
            finished.add_metric(of, record.finished_at)
            for phase, took in record.seconds.items():
                seconds.add_metric([*of, phase], took)
            if record.accuracy is not None:
                accuracy.add_metric(of, record.accuracy["estimate"])
                low.add_metric(of, record.accuracy["low"])
                high.add_metric(of, record.accuracy["high"])
                judged.add_metric(of, record.accuracy["audit_tasks"])
        learnt.add_metric(of, len(project.learnt_by(project.encoder or "")))
        if tried_at := project.adaptation.finished_at:
            adapted.add_metric(of, tried_at)
        problem.add_metric(of, bool(view.problem))

    for project in projects:
        try:
            with readable(project):
                add(View(project))
        except PrepalError:
            problem.add_metric([str(project.id)], True)
    yield from (rounds, seconds, finished, labels, annotations, pool, tasks, known, embedded, behind, problem)
    yield from (trouble, accuracy, low, high, judged, learnt, adapted, twins)
