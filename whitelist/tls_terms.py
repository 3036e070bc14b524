"""What a grant demands of the ClientHello in its TLS tunnels beside the name, and which protocols applications speak.

A client that offers no protocol at all (ALPN, RFC 7301) is held to none: many never do. What is negotiated in the end
the service says inside its encrypted answer, so whatever is offered must fit.
"""

from enum import StrEnum

import msgspec


class Nameless(StrEnum):
    """What becomes of a hello that names no host. usual: refused where the target is a name, let through where it is an
    address."""

    USUAL = "usual"
    ALLOW = "allow"
    REFUSE = "refuse"


class Ech(StrEnum):
    """What becomes of a hello whose true name may be encrypted (ECH, RFC 9849). Browsers send one that looks the same
    and hides nothing (GREASE), which nobody but the service can tell apart: refuse refuses them too."""

    NOTE = "note"
    REFUSE = "refuse"


class Application(StrEnum):
    """What may be spoken inside TLS, as far as the client says it; any: whatever it likes."""

    ANY = "any"
    WEB = "web"
    MAIL = "mail"
    MESSAGING = "messaging"
    DNS = "dns"
    FILES = "files"
    DATABASE = "database"
    TELEMETRY = "telemetry"
    CALLS = "calls"
    TIME = "time"
    NEWS = "news"


# The identifiers of IANA's registry of ALPN protocol IDs that run over TLS over TCP. Closed: what is not here fits none
# but "any". QUIC's (h3, doq), cleartext HTTP/2 (h2c), SPDY, and ACME's challenge, which is between a service and its
# certificate authority, fit no application.
PROTOCOLS: dict[Application, frozenset[str]] = {
    Application.WEB: frozenset(("http/0.9", "http/1.0", "http/1.1", "h2")),
    Application.MAIL: frozenset(("imap", "pop3", "managesieve")),
    Application.MESSAGING: frozenset(("xmpp-client", "xmpp-server", "irc")),
    Application.DNS: frozenset(("dot",)),
    Application.FILES: frozenset(("ftp", "smb", "sunrpc")),
    Application.DATABASE: frozenset(("postgresql", "tds/8.0")),
    Application.TELEMETRY: frozenset(("mqtt", "coap")),
    Application.CALLS: frozenset(("sip/2", "stun.turn", "stun.nat-discovery", "webrtc", "c-webrtc")),
    Application.TIME: frozenset(("ntske/1",)),
    Application.NEWS: frozenset(("nntp", "nnsp")),
}


class TlsTerms(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A grant's terms, as compiled. no_sni: hellos without a server name; ip_sni: with an address for one, which must
    then be the address that was dialled."""

    no_sni: Nameless = Nameless.USUAL
    ip_sni: Nameless = Nameless.USUAL
    ech: Ech = Ech.NOTE
    application: Application = Application.ANY


USUAL = TlsTerms()
TERMS = TlsTerms.__struct_fields__  # a grant's fields, by the same names


def fits(application: Application, offered: tuple[str, ...]) -> bool:
    """Whether every protocol offered (ALPN identifiers, without GREASE) is one that the application speaks."""
    return application is Application.ANY or PROTOCOLS[application].issuperset(offered)
