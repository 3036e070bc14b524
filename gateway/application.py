"""What a machine that wants a certificate sends, and what control is asked about it; see gateway.enrolment."""

import msgspec

PROOF = b"feiyu-renew\0"  # before the request, in what the present key signs: no other signature can be taken for it


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine's own words. request: a certificate request in PEM (RFC 2986); to enrol: token, as the invite was
    printed; to renew: certificate, the present one in PEM, and proof, base64 of an ECDSA signature (SHA-256) by its
    key over PROOF and the request."""

    request: str
    token: str = ""
    certificate: str = ""
    proof: str = ""


class Application(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker's question to control. renew: else enrol; tenant: by the place, or by the certificate; credential: whose
    certificate was shown, "" to enrol. The worker is believed in the place alone: control looks at the token, or at
    the certificate and the proof, itself."""

    renew: bool
    tenant: str
    credential: str = ""
    source: str
    asked: Asked

    @property
    def html(self) -> bool:
        """No person reads the answer."""
        return False
