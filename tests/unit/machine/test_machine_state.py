"""Ports and secrets that `prepal up` keeps."""

import json
import socket
from pathlib import Path

import pytest

from prepal.errors import PrepalError
from prepal.machine.state import kept_state


def test_what_is_kept_is_kept_and_a_port_that_is_taken_is_replaced(tmp_path: Path) -> None:
    with kept_state(tmp_path) as state:
        before = dict(vars(state))
    with socket.socket() as other:
        other.bind(("127.0.0.1", before["ports"]["backend"]))
        with kept_state(tmp_path) as state:
            assert state.ports["backend"] != before["ports"]["backend"]
            assert state.backend_password == before["backend_password"]


def test_the_state_of_another_release_is_read(tmp_path: Path) -> None:
    old = {"ports": {"redis": 6401}, "label_studio_password": "a", "label_studio_token": "b", "redis_password": "c"}
    (tmp_path / "state.json").write_text(json.dumps({**old, "of_a_newer_one": 1}))
    with kept_state(tmp_path) as state:
        assert (state.label_studio_password, state.redis_password) == ("a", "c")
        made = state.backend_password
        assert len(made) > 10
    with kept_state(tmp_path) as state:
        assert state.backend_password == made


def test_a_state_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(PrepalError, match=r"state.json cannot be read: restore it"), kept_state(tmp_path):
        pass
