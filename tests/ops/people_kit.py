"""A node with accounts: one person for each role, each with a key, logged in without the wait for codes."""

import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.api.actor import SESSIONS
from tenants.accounts import Role
from tenants.approval import sign
from tenants.request import Step
from tests.ops.control_kit import Node

FOUNDERS = {
    "sys": Role.SYSTEM_ADMINISTRATOR,
    "sec": Role.SECURITY_ADMINISTRATOR,
    "aud": Role.AUDIT_ADMINISTRATOR,
}
OTHERS = {
    "applicant": Role.TENANT_APPLICANT,
    "compliance": Role.TENANT_COMPLIANCE,
    "operator": Role.PLATFORM_OPERATOR,
    "reviewer": Role.ZONE_REVIEWER,
    "carrier": Role.CARRIER_ENGINEER,
    "watch": Role.SECURITY_OPERATOR,
    "regulator": Role.REGULATOR,
}
WHO = {role: name for name, role in {**FOUNDERS, **OTHERS}.items()}


@dataclass
class People:
    """The people of a node. keys: by account."""

    node: Node
    keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)

    def account(self, name: str, *roles: Role, **fields: Any) -> dict[str, Any]:
        """The fields of a new account, whose key is made here."""
        key = self.keys.setdefault(name, Ed25519PrivateKey.generate())
        public = key.public_key().public_bytes_raw().hex()
        return {"id": name, "name": name.title(), "roles": list(roles), "key": public, **fields}

    async def found(self) -> None:
        """The first three accounts."""
        changes = [
            {"collection": "accounts", "verb": "add", "id": name, "fields": self.account(name, role)}
            for name, role in FOUNDERS.items()
        ]
        status, answer = await self.node.call("POST", "/v1/changes", {"changes": changes, "reason": "founding"})
        assert status == 200, answer

    async def hire(self) -> None:
        """An account for every other role, asked for by one administrator and approved by the other."""
        for name, role in OTHERS.items():
            tenant = {"tenant": "firm-a"} if role in (Role.TENANT_APPLICANT, Role.TENANT_COMPLIANCE) else {}
            status, answer = await self.call("sys", "POST", "/v1/accounts", self.account(name, role, **tenant))
            assert status == 202, answer
            status, answer = await self.approve("sec", answer["request"]["id"])
            assert status == 200, answer

    def token(self, name: str) -> str:
        """A session, as a login gives it."""
        import os

        return self.node.app[SESSIONS].begin(name, os.getuid(), time.monotonic())

    async def call(self, name: str, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """A call by a person who is logged in; a body gets a reason."""
        body = {"reason": "a test", **body} if isinstance(body, dict) else body
        headers = {"Authorization": f"Bearer {self.token(name)}"} if name else {}
        async with self.node.client.request(
            method, f"http://control{path}", json=body, params=query, headers=headers
        ) as response:
            return response.status, await response.json(content_type=None)

    async def approve(self, name: str, request: str, **other: Any) -> tuple[int, Any]:
        """An approval by a person of what is shown to that person."""
        return await self.decide(name, request, Step.APPROVE, **other)

    async def decide(self, name: str, request: str, step: Step, **other: Any) -> tuple[int, Any]:
        """A decision. other: parts of the signed text, key (an account's name) or signature that are not the right
        ones."""
        _, shown = await self.call("aud", "GET", f"/v1/requests/{request}")
        role = {**FOUNDERS, **OTHERS}.get(name, "")
        parts = {"digest": shown["digest"], "account": name, "role": role, "time": int(time.time())}
        signer = self.keys[other.pop("key", name)]
        made = sign(signer, request, decision=step, **{**parts, **{k: v for k, v in other.items() if k in parts}})
        body = {n: getattr(made, n) for n in ("digest", "role", "time", "key", "signature")}
        body |= {n: v for n, v in other.items() if n not in parts}
        return await self.call(name, "POST", f"/v1/requests/{request}/{step}", body)
