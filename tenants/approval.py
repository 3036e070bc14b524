"""An approval: the approver's own Ed25519 signature (RFC 8032) over the digest of what was shown.

The key is made and kept on the approver's machine. Control stores signatures and cannot make one; neither can root on
the node.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tenants import roles
from tenants.accounts import Account, Role
from tenants.request import Step

SKEW = 300  # seconds between the approver's clock and the verifier's


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision as it was signed. decision: approve or reject; time: Unix seconds, by the approver's clock; key and
    signature in hex."""

    request: str
    digest: str
    decision: Step
    account: str
    role: str
    time: int
    key: str
    signature: str


class FalseApproval(Exception):  # noqa: N818 - named for what it is
    """An approval that does not hold; str() says why in one sentence."""


def text(request: str, digest: str, decision: str, account: str, role: str, time: int) -> bytes:
    """The bytes that are signed. None of the parts can hold a blank, so no two sets of parts have the same text."""
    return f"feiyu decision v1\n{decision} {request} {digest} {account} {role} {time}\n".encode()


def sign(
    key: Ed25519PrivateKey, request: str, digest: str, decision: Step, account: str, role: str, time: int
) -> Approval:
    """A decision signed with the approver's key."""
    signature = key.sign(text(request, digest, decision, account, role, time)).hex()
    public = key.public_key().public_bytes_raw().hex()
    return Approval(request, digest, decision, account, role, time, public, signature)


def check(
    approval: Approval, digest: str, account: Account, submitter: str, submitted_as: tuple[str, ...],
    collections: tuple[str, ...],
) -> None:  # fmt: skip
    """Raises FalseApproval unless this account may decide as it did on a request with the digest, which a submitter
    asked for in some roles and which concerns these collections. Knows no clock: whoever takes an approval in asks
    whether it is fresh."""
    if approval.account != account.id or approval.account == submitter:
        raise FalseApproval(f"{submitter} submitted it, and nobody decides on a request of their own")
    if account.disabled:
        raise FalseApproval(f"account {account.id} is disabled")
    if approval.digest != digest:
        raise FalseApproval(f"{account.id} signed {approval.digest[:16]}…, and the request is {digest[:16]}…")
    if approval.key != account.key:
        raise FalseApproval(f"the key is not the one of account {account.id}")
    if approval.role not in account.roles:
        raise FalseApproval(f"account {account.id} does not hold the role {approval.role}")
    if approval.role in submitted_as:
        raise FalseApproval(f"it was submitted as {approval.role}; the second person needs another role")
    role = Role(approval.role)
    for collection in collections:
        if not roles.may(role, collection, "approve"):
            raise FalseApproval(f"{role} does not decide on {collection}")
    signed = text(approval.request, approval.digest, approval.decision, approval.account, approval.role, approval.time)
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(approval.key)).verify(
            bytes.fromhex(approval.signature), signed
        )
    except (InvalidSignature, ValueError):
        raise FalseApproval(f"the signature is not {account.id}'s over this decision") from None


def role_for(account: Account, submitted_as: tuple[str, ...], collections: tuple[str, ...]) -> Role | None:
    """The role in which an account can decide on such a request; None where it has none."""
    for role in account.roles:
        if role not in submitted_as and all(roles.may(role, one, "approve") for one in collections):
            return role
    return None
