"""Which names of the backend are refused, beside what Label Studio's own code says of them."""

import json
import random
import subprocess
from pathlib import Path

from prepal.errors import PrepalError
from prepal.label_studio.connect import refuse_odd_name
from prepal.machine.up import _label_studio_executable

JUDGE = """
import json, sys
from django.conf import settings
settings.configure()
from django.core.validators import URLValidator
from django.core.exceptions import ValidationError
def takes(url):
    try:
        URLValidator()(url)
    except ValidationError:
        return False
    return True
print(json.dumps([takes(url) for url in json.load(sys.stdin)]))
"""


def test_exactly_the_names_that_label_studio_sends_no_events_to_are_refused() -> None:
    draw = random.Random(0)
    parts = [
        "backend",
        "prepal-1",
        "my_backend",
        "svc",
        "cluster",
        "local",
        "ns1",
        "a",
        "1",
        "xn--p1ai",
        "-x",
        "x-",
        "\u00fc",
    ]
    hosts = {".".join(draw.choices(parts, k=draw.randint(1, 4))) for _ in range(2000)}
    hosts |= {"localhost", "10.0.0.7", "[::1]", "[2001:db8::7]", "x" * 63 + ".local", "x" * 64 + ".local"}
    urls = [f"http://{host}:9090" for host in sorted(hosts)]
    python = Path(_label_studio_executable()).with_name("python")
    judged = subprocess.run([python, "-c", JUDGE], input=json.dumps(urls), capture_output=True, text=True, check=True)
    assert [not refused(url) for url in urls] == json.loads(judged.stdout)


def refused(url: str) -> bool:
    try:
        refuse_odd_name(url)
    except PrepalError:
        return True
    return False
