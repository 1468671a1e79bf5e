from datetime import UTC, datetime
from pathlib import Path

import bcrypt
import pytest

from dashboards.app import create_app
from dashboards.auth import Attempts, AuthMisconfigured, Gate, checked_secret, load_users
from resources.clock import ManualClock
from resources.settings import Settings
from resources.store import open_store

SECRET = "0123456789abcdef0123456789abcdef"
# bcrypt of "right" at cost 4, written out: a fresh salt would give each process of a split run other test names.
HASH = b"$2b$04$q5DCYSLX8VsO8wnFmXb9j.QSn9XC8/dgBMvQpBtYxFVKJ8Q1eGNz."


def users_file(tmp_path: Path, text: bytes) -> Path:
    path = tmp_path / "users"
    path.write_bytes(text)
    return path


def test_users_are_read_with_comments_and_blank_lines(tmp_path: Path) -> None:
    assert load_users(users_file(tmp_path, b"# desk\n\nada:" + HASH + b"\n")) == {"ada": HASH}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# nobody\n",
        b"ada:plain\n",
        b"ada\n",
        b":" + HASH,
        b"ada:" + HASH[:-1],
        b"ada:" + HASH + b":x",
        b"ada:" + HASH + b"\nada:" + HASH,
        b"ada:" + HASH + b"\nbroken",
    ],
)
def test_a_malformed_users_file_keeps_everybody_out(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(AuthMisconfigured):
        load_users(users_file(tmp_path, text))


def test_a_missing_users_file_keeps_everybody_out(tmp_path: Path) -> None:
    with pytest.raises(AuthMisconfigured, match="DESK_USERS_FILE"):
        load_users(None)
    with pytest.raises(AuthMisconfigured, match="cannot read"):
        load_users(tmp_path / "absent")


def test_a_short_cookie_secret_is_refused() -> None:
    with pytest.raises(AuthMisconfigured, match="DESK_COOKIE_SECRET"):
        checked_secret("short")
    assert checked_secret(SECRET) == SECRET


@pytest.mark.parametrize("missing", ["users_file", "cookie_secret"])
def test_the_server_refuses_to_start_half_protected(tmp_path: Path, missing: str) -> None:
    given = {"users_file": users_file(tmp_path, b"ada:" + HASH), "cookie_secret": SECRET}
    del given[missing]
    settings = Settings(store=str(tmp_path / "store"), dashboard_port=0, **given)
    with pytest.raises(AuthMisconfigured):
        create_app(settings, open_store(settings.store), ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))


def test_auth_off_is_refused_off_loopback() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Settings(auth="off", host="0.0.0.0")


def test_only_the_right_password_of_a_known_user_is_admitted() -> None:
    gate = Gate({"ada": HASH})
    assert gate.admits("ada", "right")
    assert not gate.admits("ada", "wrong")
    assert not gate.admits("eve", "right")
    assert not gate.admits("", "")
    assert not gate.admits("ada", "right" + "x" * 80)
    assert not gate.admits("ada", "right\0")


def test_a_password_is_never_cut_to_fit() -> None:
    long = "a" * 72
    gate = Gate({"ada": bcrypt.hashpw(long.encode(), bcrypt.gensalt(4))})
    assert gate.admits("ada", long)
    assert not gate.admits("ada", long + "b")


def test_guessing_locks_for_longer_each_time_and_success_forgets() -> None:
    now = 0.0
    attempts = Attempts(now=lambda: now)
    for _ in range(4):
        attempts.failed("ada")
    assert not attempts.locked_for("ada")
    attempts.failed("ada")
    assert attempts.locked_for("ada") == 30
    assert not attempts.locked_for("bob")
    now = 31
    attempts.failed("ada")
    assert attempts.locked_for("ada") == 60
    for _ in range(50):
        attempts.failed("ada")
    assert attempts.locked_for("ada") == 900
    attempts.succeeded("ada")
    assert not attempts.locked_for("ada")


def test_remembered_failures_are_bounded() -> None:
    attempts = Attempts(now=lambda: 0.0)
    for number in range(10_050):
        attempts.failed(str(number))
    assert len(attempts._failures) == 10_000
