"""What Label Studio sends, and what becomes of it when somebody tampers with it: the same for the same seed."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

CHOICES = '<Choices name="topic" toName="text"><Choice value="A"/><Choice value="B"/></Choices>'
TEXT = '<Text name="text" value="$text"/>'
CONFIG = f"<View>{TEXT}{CHOICES}</View>"
# Chances that one in so many parts of a request is tampered with.
_PLACES, _BREAKS = (0, 1, 1, 2, 4), (0, 0, 0, 0, 0, 1, 3)
# Whatever is deeper or further along than this is not looked at one by one.
_DEEPEST, _WIDEST = 12, 20


class Request(NamedTuple):
    """A POST request."""

    path: str
    body: bytes


def _nested(depth: int) -> Any:
    value: Any = "A"
    for _ in range(depth):
        value = [value]
    return value


_CONFIGS = [
    *("", "<View", f"<View>{TEXT}</View>", f"<View>{TEXT}<Choices name='topic' toName='text'/></View>"),
    CONFIG.replace("<Choice ", "".join(f'<Choice value="{number}"/>' for number in range(3000)) + "<Choice ", 1),
    CONFIG.replace("</View>", f"{TEXT}{CHOICES}</View>"),
    CONFIG.replace('"B"', '"A"'),
    CONFIG.replace('"B"', '"A&#x300;"').replace('"A"', '"&#xc0;"'),
    CONFIG.replace('"B"', '"&#x2028;&#x202e;"'),
    CONFIG.replace('"B"', '"\ud800"'),
    CONFIG.replace('toName="text"', 'toName="elsewhere"'),
    CONFIG.replace("<Text", "<HyperText"),
    f"<?xml version='1.0' encoding='utf-16'?>{CONFIG}",
    f'<!DOCTYPE v [<!ENTITY a "{"a" * 1000}"><!ENTITY b "{"&a;" * 1000}">]><View>{"&b;" * 1000}</View>',
    '<!DOCTYPE v [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>',
    "<View>" * 10_000 + TEXT + CHOICES + "</View>" * 10_000,
    " " * 2_000_000,
]
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 4, 1.5, 4.0, float("nan"), float("inf"), 1e308, 2**31, 2**53, 2**63, 10**400),
    *("", "1", "4.1", "-1", "true", "\ud800", "\udfff\ud800", "\0", "a\u2028b", "\u202eA", "A\u0300", "\xc0", "\ufeff"),
    *("x" * 100_000, "<!--" * 10_000, "A", "2026-01-01", "9999-12-31", [], {}, [[]], [None], [{}], {"id": 1}, {"": ""}),
    *({"\ud800": "\ud800"}, {"id": None}, ["A"], [["B", "A"]], ["A"] * 5000, [{"id": 7}] * 300, {"choices": ["A"]}),
    *(_nested(200), _nested(500), {"a": _nested(500)}, {"choices": _nested(500)}, [{"author": "A", "text": "B"}]),
]
_CHARACTERS = ["\ud800", "\udfff", "\0", "\u2028", "\u202e", "\u0301", "\x1e", "<", "&a;"]
_NAMES = [
    *("id", "task", "tasks", "annotation", "annotations", "project", "action", "result", "value", "choices", "data"),
    *("from_name", "completed_by", "updated_at", "label_config", "model_version", "was_cancelled", "schema", "\ud800"),
]
_BYTES = [
    *(bytes([byte]) for byte in b'\xff\0"\\{}[],:-\n\x1e'),
    *(b"\xfe\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\\ud800", b"NaN", b"1e999"),
    *(b"9" * 5000, b"[" * 3000, b"[" * 990 + b"]" * 990, b'{"id":' * 1500, b'"id":5,"id":6,'),
    *(b'"project":{"id":4},', b'"action":"TASKS_DELETED",'),
]


def request_of(seed: int) -> Request:
    """A request that Label Studio makes, tampered with or not."""
    random = Random(seed)
    path, body = random.choice(_requests(random))
    for _ in range(random.choice(_PLACES)):
        body = tampered(body, random)
    raw = json.dumps(body, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    for _ in range(random.choice(_BREAKS)):
        raw = _broken(raw, random)
    return Request(path, raw)


def annotation_of(random: Random) -> dict[str, Any]:
    """An annotation as events and exports carry it."""
    chosen = {"choices": [random.choice("AB")]}
    return {
        "id": random.randrange(1, 40),
        "task": random.randrange(1, 20),
        "completed_by": random.choice([1, 2, {"id": 3, "email": "a@example.com"}]),
        "updated_at": f"2026-01-{random.randrange(1, 29):02}T00:00:00Z",
        "was_cancelled": random.random() < 0.2,
        "ground_truth": random.random() < 0.1,
        "result": [{"from_name": "topic", "to_name": "text", "type": "choices", "value": chosen}],
    }


def tampered(body: Any, random: Random) -> Any:
    """The same with another value, name or shape somewhere in it."""
    return _changed(body, random.choice(list(_places(body, _DEEPEST))), random)


def _requests(random: Random) -> list[tuple[str, Any]]:
    def task() -> dict[str, Any]:
        return {"id": random.randrange(1, 20), "data": {"text": "Where is my parcel?"}, "meta": {}}

    ids = [{"id": random.randrange(1, 40)} for _ in range(3)]
    annotations = [annotation_of(random), annotation_of(random)]
    project = {"id": 4, "title": "Tickets", "label_config": CONFIG, "model_version": "PRepAL", "token": "secret"}
    events: list[tuple[str, dict[str, Any]]] = [
        ("ANNOTATION_CREATED", {"annotation": annotations[0], "task": task()}),
        ("ANNOTATION_UPDATED", {"annotation": annotations[0], "task": task()}),
        ("ANNOTATIONS_CREATED", {"annotation": annotations, "task": [task(), task()]}),
        ("ANNOTATIONS_DELETED", {"annotations": ids}),
        ("TASKS_CREATED", {"tasks": [task(), task()]}),
        ("TASKS_DELETED", {"tasks": ids}),
        ("PROJECT_UPDATED", {}),
        ("START_TRAINING", {}),
        ("PROJECT_DELETED", {}),
    ]
    setup = {"project": "4.1700000000", "schema": CONFIG, "hostname": "", "access_token": "secret", "extra_params": {}}
    predict = {"tasks": [task(), task()], "project": "4.1700000000", "label_config": CONFIG, "params": {"context": {}}}
    return [
        *(("/webhook", {"action": action, "project": project, **more}) for action, more in events),
        *(("/setup", setup), ("/predict", predict)),
    ]


def _places(value: Any, deepest: int) -> Iterator[tuple[Any, ...]]:
    """The ways, by keys and indices, to what is in a value."""
    yield ()
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(children)[: _WIDEST if deepest else 0]:
        yield from ((key, *way) for way in _places(child, deepest - 1))


def _changed(value: Any, way: tuple[Any, ...], random: Random) -> Any:
    if way:
        copy = value.copy()
        copy[way[0]] = _changed(value[way[0]], way[1:], random)
        return copy
    kind = random.randrange(4)
    if kind < 2 and isinstance(value, str):
        at = random.randrange(len(value) + 1)
        return value[:at] + random.choice(_CHARACTERS) + value[at:]
    if kind == 0 and isinstance(value, dict) and value:
        gone = random.choice(list(value))
        return {name: inner for name, inner in value.items() if name != gone}
    if kind == 1 and isinstance(value, dict):
        return {**value, random.choice(_NAMES): random.choice(_VALUES)}
    return random.choice([[value], {"id": value}, [value] * 3, *random.choices([*_VALUES, *_CONFIGS], k=9)])


def _broken(raw: bytes, random: Random) -> bytes:
    """The same with other bytes somewhere in it."""
    at = random.randrange(len(raw) + 1)
    end = min(len(raw), at + random.choice([0, 1, 1, 10, 100]))
    part = random.choice([random.choice(_BYTES), random.randbytes(2), b"", raw[at:end] * 2])
    return raw[:at] + part + raw[end:]
