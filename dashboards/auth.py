"""Who may look: users with bcrypt hashes from a file, signed cookies, and a delay for those who guess.

Everything fails closed: without a readable user file and a long enough cookie secret the server does not start.
Panel's own basic auth compares plain text, so its login handler is replaced.
"""

import asyncio
import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
from jinja2 import Environment
from panel.auth import BasicAuthProvider, BasicLoginHandler
from panel.config import config
from tornado.web import RequestHandler

from dashboards.page import THEME
from dashboards.theme.tokens import custom_properties
from resources.settings import Settings

_LEAST_SECRET = 32
_HASH = re.compile(rb"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_MOST_PASSWORD = 72  # bytes; bcrypt ignores what follows, so a longer password is refused

_FREE_ATTEMPTS = 5
_FIRST_LOCK = 30.0  # seconds, doubled by each further failure
_LONGEST_LOCK = 900.0
_FAILURE_DELAY = 0.6  # seconds before a failure is answered
_MOST_REMEMBERED = 10_000

_PAGE = Environment(autoescape=True).from_string((THEME / "login.html").read_text(encoding="utf-8"))


class AuthMisconfigured(Exception):
    """Login cannot be enforced as set up; the message says what to set."""


def load_users(path: Path | None) -> dict[str, bytes]:
    """Users and their bcrypt hashes from lines of ``<user>:<hash>``; blank lines and ``#`` comments are skipped.

    Raises AuthMisconfigured when the file is absent, unreadable, empty or has any other kind of line.
    """
    if path is None:
        raise AuthMisconfigured(
            "DESK_USERS_FILE is not set: name a file of <user>:<bcrypt hash> lines, or DESK_AUTH=off"
        )
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise AuthMisconfigured(f"cannot read the users file {path}: {error.strerror}") from error
    users: dict[str, bytes] = {}
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        user, separator, hashed = line.partition(b":")
        name = user.decode("utf-8", errors="replace")
        if not separator or not user or not _HASH.fullmatch(hashed):
            raise AuthMisconfigured(f"{path} line {number}: expected <user>:<bcrypt hash>")
        if name in users:
            raise AuthMisconfigured(f"{path} line {number}: user {name!r} is named twice")
        users[name] = hashed
    if not users:
        raise AuthMisconfigured(f"the users file {path} names nobody")
    return users


def checked_secret(secret: str) -> str:
    """The cookie secret, when it is long enough to sign with. Raises AuthMisconfigured."""
    if len(secret) < _LEAST_SECRET:
        raise AuthMisconfigured(f"DESK_COOKIE_SECRET needs {_LEAST_SECRET} characters or more, it has {len(secret)}")
    return secret


@dataclass
class Attempts:
    """Failed logins by whoever made them; ``now`` gives monotonic seconds."""

    now: Callable[[], float] = time.monotonic
    _failures: "OrderedDict[str, tuple[int, float]]" = field(default_factory=OrderedDict)

    def locked_for(self, who: str) -> float:
        """Seconds until ``who`` may try again, 0 when now."""
        return max(0.0, self._failures.get(who, (0, 0.0))[1] - self.now())

    def failed(self, who: str) -> None:
        """Note a failure; from the fifth on each locks for longer."""
        count = self._failures.get(who, (0, 0.0))[0] + 1
        over = count - _FREE_ATTEMPTS
        # The exponent is bounded so that an endless guesser cannot overflow it.
        lock = min(_LONGEST_LOCK, _FIRST_LOCK * 2.0 ** min(over, 10)) if over >= 0 else 0.0
        self._failures[who] = (count, self.now() + lock)
        self._failures.move_to_end(who)
        while len(self._failures) > _MOST_REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, who: str) -> None:
        """Forget the failures of ``who``."""
        self._failures.pop(who, None)


class Gate:
    """Checks passwords. Unknown users cost the same time as known ones."""

    def __init__(self, users: dict[str, bytes]) -> None:
        self._users = users
        # The dearest cost in use, or an unknown name would be told from a known one by its faster answer.
        rounds = max(int(hashed[4:6]) for hashed in users.values())
        self._nobody = bcrypt.hashpw(os.urandom(16), bcrypt.gensalt(rounds))

    def admits(self, user: str, password: str) -> bool:
        """Whether ``password`` is the one of ``user``. Takes as long as bcrypt does."""
        secret = password.encode()
        hashed = self._users.get(user, self._nobody)
        fits = bcrypt.checkpw(secret[:_MOST_PASSWORD], hashed)
        return fits and user in self._users and len(secret) <= _MOST_PASSWORD


class LoginHandler(BasicLoginHandler):
    """Panel's login endpoint with bcrypt, a delay, a lockout, stricter cookies and our own page."""

    # Bokeh makes login handlers without arguments, so these stand on a class made for each server.
    gate: Gate
    attempts: Attempts
    theme_version: str

    def get(self) -> None:
        wanted = self.get_argument("next", "")
        if wanted:
            self.set_cookie("next_url", wanted, httponly=True, samesite="Lax")
        self._show()

    async def post(self) -> None:
        user, password = self.get_argument("username", ""), self.get_argument("password", "", strip=False)
        who = f"{self.request.remote_ip} {user}"
        locked = self.attempts.locked_for(who)
        if locked:
            self._show(f"Too many attempts. Try again in {math.ceil(locked)} s.", 429)
            return
        # Counted before the answer is known, or a burst of guesses would all be let through at once.
        self.attempts.failed(who)
        # Off the event loop: bcrypt is slow on purpose, and everybody else's page must not wait for it.
        if await asyncio.to_thread(self.gate.admits, user, password):
            self.attempts.succeeded(who)
            self.set_current_user(user)  # type: ignore[no-untyped-call]
            self.redirect(self._wanted())
            return
        await asyncio.sleep(_FAILURE_DELAY)
        self._show("Wrong user or password.", 401)

    def set_secure_cookie(self, name: str, value: str | bytes, *args: Any, **kwargs: Any) -> None:
        """HttpOnly comes from Panel; never sent along from other sites, and only over TLS where there is TLS."""
        kwargs |= {"samesite": "Lax", "secure": self.request.protocol == "https"}
        super().set_secure_cookie(name, value, *args, **kwargs)

    def write_error(self, status_code: int, **_: Any) -> None:
        """No traceback for somebody who is not logged in."""
        self.set_header("Content-Type", "text/plain")
        self.finish(str(status_code))

    def _wanted(self) -> str:
        """The page asked for before the login, if it is one of ours."""
        wanted = str(self.get_cookie("next_url") or "/")
        return wanted if wanted.startswith("/") and not wanted.startswith(("//", "/\\")) else "/"

    def _show(self, message: str = "", status: int = 200) -> None:
        self.set_status(status)
        self.write(_PAGE.render(palette=custom_properties(), theme_version=self.theme_version, message=message))


class LogoutHandler(RequestHandler):
    """Forgets the user and shows the login."""

    def get(self) -> None:
        for cookie in ("user", "id_token", "next_url"):
            self.clear_cookie(cookie)
        self.redirect("login")


class BcryptAuthProvider(BasicAuthProvider):
    """The provider to hand to the server. Raises AuthMisconfigured when login cannot be enforced."""

    def __init__(self, settings: Settings, theme_version: str) -> None:
        gate = Gate(load_users(settings.users_file))
        # Panel verifies cookies with this one, whatever the server is given.
        config.cookie_secret = checked_secret(settings.cookie_secret)  # type: ignore[misc]

        own = {"gate": gate, "attempts": Attempts(), "theme_version": theme_version}
        self._handler = type("DeskLoginHandler", (LoginHandler,), own)
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def login_handler(self) -> type[LoginHandler]:
        return self._handler

    @property
    def logout_handler(self) -> type[LogoutHandler]:
        return LogoutHandler
