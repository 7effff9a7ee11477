"""What waits in Redis when the release before the rooms is stopped: each of its jobs once, as its RQ wrote them.

It was recorded of that release: 0.1.0, before modules moved into folders.
"""

from typing import NamedTuple

import redis

PROJECT = 1
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = {
    "4d572166d094e01f4e2e6efd580a9ced": "invoice for March",
    "61c0e452ae038b6981fe54e9a573eaf9": "the printer does not answer",
}
_WAITING = "prepal:waiting:sentence-transformers-all-minilm-l6-v2-32f44388"
_MARK_S = 30


class Waiting(NamedTuple):
    """A job on a queue; `data` is hexadecimal."""

    queue: str
    id: str
    description: str
    created_at: str
    enqueued_at: str
    timeout: str
    failure_ttl: str
    data: str


JOBS = [
    Waiting(
        "learn",
        "9da71928-eaea-4535-9654-4a555a4ddd67",
        "round of project 1",
        "2026-11-26T22:51:14.885752Z",
        "2026-11-26T22:51:14.886451Z",
        timeout="3600",
        failure_ttl="3600",
        data=("789c8b562a284a2d48ccd1cb494d2cca4b2dd22bca2fcd4b51d251c82bcdc9d15188368cd551a8ae8d050017500d6e"),
    ),
    Waiting(
        "sync",
        "ba17cf6b-cae8-4239-a684-ed1620baf52c",
        "read of project 1",
        "2026-11-26T22:51:14.887170Z",
        "2026-11-26T22:51:14.890540Z",
        timeout="3600",
        failure_ttl="3600",
        data=("789c8b562a284a2d48ccd1cb494d2cca4b2dd22b4a4d4c51d251c82bcdc9d15188368cd551a8ae8d050005450ce2"),
    ),
    Waiting(
        "sync",
        "f396bf4d-8a25-4d7b-860e-16baea39d4c6",
        "reconcile of project 1",
        "2026-11-26T22:51:14.891146Z",
        "2026-11-26T22:51:14.891420Z",
        timeout="3600",
        failure_ttl="3600",
        data=("789c8b562a284a2d48ccd1cb494d2cca4b2dd22b4a4dcecf4bcecc4955d251c82bcdc9d15188368cd551a8ae8d050056c60efa"),
    ),
    Waiting(
        "sync",
        "f387ac88-77b0-4577-9889-1e68c6ca60aa",
        "verify of project 1",
        "2026-11-26T22:51:14.891951Z",
        "2026-11-26T22:51:14.892149Z",
        timeout="3600",
        failure_ttl="3600",
        data=("789c8b562a284a2d48ccd1cb494d2cca4b2dd22b4b2dca4cab54d251c82bcdc9d15188368cd551a8ae8d050027440ddb"),
    ),
    Waiting(
        "sync",
        "75414ce9-4d95-4685-ab9d-e1530f2329d9",
        "judge of project 1",
        "2026-11-26T22:51:14.892640Z",
        "2026-11-26T22:51:14.892826Z",
        timeout="3600",
        failure_ttl="3600",
        data=("789c8b562a284a2d48ccd1cb494d2cca4b2dd2cb2a4d494f55d251c82bcdc9d15188368cd551a8ae8d050015570d55"),
    ),
    Waiting(
        "sync",
        "90c78cd4-8727-4ff8-9b94-4600b4ccf803",
        "tail of project 1",
        "2026-11-26T22:51:14.893404Z",
        "2026-11-26T22:51:14.895368Z",
        timeout="3600",
        failure_ttl="3600",
        data=("789c8b562a284a2d48ccd1cb494d2cca4b2dd22b49cccc51d251c82bcdc9d15188368cd551a8ae8d050006470cf0"),
    ),
    Waiting(
        "sync",
        "f87d4a27-1cba-4d33-9141-e7dc4e620cb1",
        "freshen of project 1",
        "2026-11-26T22:51:14.895834Z",
        "2026-11-26T22:51:14.896001Z",
        timeout="3600",
        failure_ttl="3600",
        data=("789c8b562a284a2d48ccd1cb494d2cca4b2dd24b2b4a2dce48cd53d251c82bcdc9d15188368cd551a8ae8d050035e70e31"),
    ),
    Waiting(
        "embed",
        "5f43a655-9817-4971-a932-39fb22f50c15",
        "embed 2 texts",
        "2026-11-26T22:51:14.900099Z",
        "2026-11-26T22:51:14.900177Z",
        timeout="600",
        failure_ttl="86400",
        data=(
            "789c25cb410e83200005d1ab18d6d20202ca1df404c618944f6a4434a8eda2e9dd6bd3cdacdeb4644bd86ce85f"
            "6b9a91f61b9601eedf7e7c9c71267916cf10f2ac253be28138821ec9c6ddaf69b98ebb0d8136539cea86d69a3e"
            "05f951cd4706a984052baa419b8a7b2809635559c07a7321229d2a05d7da3123c1b89710d0f04e55cc9a118e74"
            "5d9ebd3fdd17e2f433d1"
        ),
    ),
]
_EMPTY = (
    "ended_at", "failure_callback_name", "group_id", "last_heartbeat", "started_at", "stopped_callback_name",
    "success_callback_name", "worker_name",
)  # fmt: skip


def plant(connection: redis.Redis, *queues: str) -> list[str]:
    """Put there what that release left of some queues; returns the keys of the jobs."""
    chosen = [job for job in JOBS if job.queue in queues]
    for job in chosen:
        fields = {**dict.fromkeys(_EMPTY, ""), **job._asdict(), "data": bytes.fromhex(job.data)}
        fields |= {"origin": fields.pop("queue"), "result_ttl": "0", "status": "queued"}
        connection.hset(f"rq:job:{fields.pop('id')}", mapping=fields)
        connection.rpush(f"rq:queue:{job.queue}", job.id)
        connection.sadd("rq:queues", f"rq:queue:{job.queue}")
        if job.queue == "embed":
            connection.hset(f"{_WAITING}:texts", mapping=TEXTS)
            connection.hset(f"{_WAITING}:projects", mapping=dict.fromkeys(TEXTS, f" {PROJECT} "))
        else:
            connection.set(f"prepal:requested:{job.description.partition(' ')[0]}:{PROJECT}", 1, ex=_MARK_S)
    connection.sadd("prepal:projects", PROJECT)
    return [f"rq:job:{job.id}" for job in chosen]
