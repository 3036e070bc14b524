"""What a recipe is: how one program is told of the gateway."""

from dataclasses import dataclass

from ops.portal.words import Words

NO_PROXY = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True)
class Recipe:
    """key: the program; file: where the content belongs, "" where it is typed; secret: the content holds the token, so
    that the file is for its owner's eyes (0600); command: what is typed then, "" for nothing."""

    key: str
    title: Words
    file: str = ""
    content: str = ""
    command: str = ""
    note: Words | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy that programs are told of. user and password: a credential's id and token, or words that stand for
    them; both empty where the place alone says who asks."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def authority(self) -> str:
        """host:port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Without the credential."""
        return f"{self.scheme}://{self.authority}"

    @property
    def full(self) -> str:
        """With it. Ids and tokens have no character that a URL would want escaped."""
        return f"{self.scheme}://{self.user}:{self.password}@{self.authority}" if self.user else self.url


def words(zh: str, en: str) -> Words:
    """A text in both languages."""
    return {"zh": zh, "en": en}
