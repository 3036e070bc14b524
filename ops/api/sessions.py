"""Who is logged in: sessions in control's memory alone, so that a restart logs everybody out. Pure."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

IDLE = 900.0  # seconds without a request, after which a session is over (GB/T 22239-2019 8.1.4.1 b)
LIFE = 12 * 3600.0  # seconds a session lasts at most
NONCE_LIFE = 300.0
MAX_NONCES = 1000


@dataclass(slots=True)
class Session:
    """One login. uid: the user of the host it was made by, and is good for; times as passed in."""

    account: str
    uid: int
    began: float
    used: float


class Sessions:
    """All of them, by the digest of their token."""

    def __init__(self, randomness: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._randomness = randomness
        self._open: dict[bytes, Session] = {}
        self._nonces: dict[str, tuple[str, float]] = {}

    def begin(self, account: str, uid: int, now: float) -> str:
        """The token of a new session."""
        self._tidy(now)
        token = self._randomness(32).hex()
        self._open[_key(token)] = Session(account, uid, now, now)
        return token

    def use(self, token: str, uid: int, now: float) -> Session | None:
        """The session of a token, which goes on by it; None where there is none any more."""
        found = self._open.get(_key(token))
        if found is None or found.uid != uid or _over(found, now):
            return None
        found.used = now
        return found

    def end(self, token: str) -> None:
        """Logs out."""
        self._open.pop(_key(token), None)

    def end_all(self, account: str) -> None:
        """Ends every session of an account."""
        self._open = {key: session for key, session in self._open.items() if session.account != account}

    def nonce(self, account: str, now: float) -> str:
        """Something to sign, once, within NONCE_LIFE."""
        self._nonces = {name: kept for name, kept in self._nonces.items() if kept[1] > now}
        while len(self._nonces) >= MAX_NONCES:
            self._nonces.pop(next(iter(self._nonces)))
        made = self._randomness(16).hex()
        self._nonces[made] = (account, now + NONCE_LIFE)
        return made

    def take(self, nonce: str, account: str, now: float) -> bool:
        """Whether the nonce was given to the account and is good; it is not any more."""
        kept = self._nonces.pop(nonce, None)
        return kept is not None and kept[0] == account and kept[1] > now

    def _tidy(self, now: float) -> None:
        self._open = {key: session for key, session in self._open.items() if not _over(session, now)}


def _key(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _over(session: Session, now: float) -> bool:
    return now - session.used >= IDLE or now - session.began >= LIFE
