"""What items compile to, and that a change comes to the same bytes as compiling everything again."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.model import Credential, TenantState
from tests.whitelist.policies import KEY, NOW, WINDOW, added, edited, endpoint, grant, policy, removed, service, tenant
from whitelist import compiler
from whitelist.casbin_model import ModelError, closure, load_model
from whitelist.entries import decode_grants, decode_rows
from whitelist.model import CustomerFile, Deny, GrantState, Line, LineShare, Protocol
from whitelist.publisher import Publisher


def compiled(tmp_path: Path, *items: Any) -> dict[bytes, bytes]:
    """The whole policy of these items."""
    return dict(compiler.compiled(policy(*items), tmp_path / "scratch"))


def test_groups_and_categories_are_not_multiplied_out(tmp_path: Path) -> None:
    firms = [tenant(f"firm-{n}", groups=("everybody",)) for n in range(300)]
    catalogue = [service(f"s-{n}", f"s{n}.example.com", categories=("reference",)) for n in range(100)]
    found = compiled(tmp_path, *firms, *catalogue, grant(subject="group:everybody", thing="category:reference"))
    assert len(found) == 300 + 1 + 100 + 1 + 3  # with the place that all have here, and the lines
    assert [key for key in found if key[:1] == b"g"] == [b"ggroup:everybody|category:reference"]


def test_keys_come_in_order_once_each(tmp_path: Path) -> None:
    items = [
        *(service(f"s-{n}", "a.example.com", "*.a.example.com", "10.0.0.0/8") for n in range(30)),
        *(grant(f"g-{n}") for n in range(30)),
    ]
    keys = [key for key, _ in compiler.compiled(policy(*items), tmp_path / "scratch")]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize(
    ("item", "count"),
    [
        pytest.param(grant(state=GrantState.REVOKED), 0, id="a revoked grant gives nothing"),
        pytest.param(grant(state=GrantState.SUSPENDED), 1, id="a suspended grant explains"),
        pytest.param(grant(state=GrantState.EXPIRED), 1, id="an expired grant explains"),
        pytest.param(service("s", "a.example.com", retired=True), 0, id="a retired service has no ways"),
        pytest.param(service("s", "a.example.com", "b.example.com"), 2, id="a service has a row for each way"),
        pytest.param(tenant(), 2, id="a tenant has a row for itself and one for its place"),
        pytest.param(tenant(state=TenantState.SUSPENDED), 2, id="a suspended tenant keeps its place"),
        pytest.param(tenant(state=TenantState.REVOKED), 1, id="a revoked tenant explains, and holds no place"),
        pytest.param(None, 0, id="nothing is nothing"),
    ],
)
def test_rows_of_an_item(item: Any, count: int) -> None:
    assert len(compiler.rows(item)) == count


def test_a_large_policy_is_sorted_on_disk_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    firms = [tenant(f"firm-{n}") for n in range(20)]
    grants = [grant(f"g-{n}", subject=f"tenant:firm-{n % 20}", thing=f"service:s-{n % 7}") for n in range(200)]
    whole = list(compiler.compiled(policy(*firms, *grants), tmp_path / "scratch"))
    monkeypatch.setattr(compiler, "_CHUNK", 16)
    assert list(compiler.compiled(policy(*reversed(grants), *firms), tmp_path / "scratch")) == whole
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_list_stand_in_the_order_in_which_they_count(tmp_path: Path) -> None:
    long = msgspec.structs.replace(WINDOW, valid_until=NOW + 10**7)
    found = compiled(
        tmp_path,
        grant("g-b"),
        grant("g-a"),
        grant("g-c", window=long),
        Deny(id="d-1", target="a.example.com"),
        service("s-2", "a.example.com"),
        service("s-1", endpoint("a.example.com", 80, protocol=Protocol.HTTP), "a.example.com"),
    )
    assert [row.id for row in decode_grants(found[b"gtenant:firm-a|service:docs"])] == ["g-c", "g-a", "g-b"]
    rows = decode_rows(found[b"ha.example.com"])
    assert [getattr(row, "service", "deny") for row in rows] == ["deny", "s-1", "s-1", "s-2"]
    assert [row.ports for row in rows[1:3]] == [(80,), (443,)]


HOSTS = ["a.example.com", "*.example.com", "203.0.113.0/28", "2001:db8::/32"]
names = st.sampled_from(["a", "b"])
items = st.one_of(
    st.builds(
        lambda n, s, t, state, until: grant(
            f"g-{n}",
            f"tenant:{s}",
            f"service:{t}",
            state=state,
            window=msgspec.structs.replace(WINDOW, valid_until=until),
        ),
        st.integers(0, 4),
        names,
        names,
        st.sampled_from(GrantState),
        st.integers(NOW, NOW + 3),
    ),
    st.builds(
        lambda name, ways, retired: service(name, *ways, categories=("c",), retired=retired),
        names,
        st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3, unique=True),
        st.booleans(),
    ),
    st.builds(lambda n, target: Deny(id=f"d-{n}", target=target), st.integers(0, 2), st.sampled_from(HOSTS)),
    st.builds(lambda name, state: tenant(name, state=state, groups=("x",)), names, st.sampled_from(TenantState)),
    st.builds(
        lambda n, revoked: Credential(id=f"c-{n}", tenant="a", token_sha256="0" * 64, valid_until=NOW, revoked=revoked),
        st.integers(0, 2),
        st.integers(0, 1),
    ),
    st.builds(
        lambda n, drained: Line(id=f"l-{n}", device=f"l{n}", index=n + 1, drained=drained),
        st.integers(0, 2),
        st.booleans(),
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(items, st.booleans()), min_size=1, max_size=25), st.integers(1, 4))
def test_changes_come_to_the_same_bytes_as_everything_compiled_again(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, bool]], together: int
) -> None:
    directory = tmp_path_factory.mktemp("snapshot")
    register: dict[tuple[type, str], Any] = {}
    with Publisher(directory, KEY) as publisher:
        publisher.publish_all(policy(Line(id="l-9", device="l9", index=9)), 1)
        register[Line, "l-9"] = Line(id="l-9", device="l9", index=9)
        for number, batch in enumerate(itertools.batched(steps, together), 2):
            changes = []
            for item, remove in batch:
                before = register.get((type(item), item.id))
                if remove and before is not None:
                    del register[type(item), item.id]
                    changes.append(removed(before))
                elif not remove:
                    register[type(item), item.id] = item
                    fields = {field: getattr(item, field) for field in item.__struct_fields__}
                    changes.append(added(item) if before is None else edited(before, **fields))
            publisher.publish(changes, number)
            assert publisher.snapshot is not None
            whole = compiler.compiled(policy(*register.values()), directory / "scratch")
            assert list(publisher.snapshot.items()) == list(whole)
        before_compaction = list(publisher.snapshot.items())
        publisher.compact()
        assert list(publisher.snapshot.items()) == before_compaction
        assert not publisher.snapshot.overlay


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([added(grant())], {"tenants": {"firm-a"}}, id="a tenant's grant touches the tenant"),
        pytest.param([edited(grant(), state=GrantState.REVOKED)], {"tenants": {"firm-a"}}, id="so does its end"),
        pytest.param(
            [added(grant(subject="group:x"))], {"groups": {"x"}, "everything": True}, id="a group's touches everybody"
        ),
        pytest.param([edited(tenant(), name="New")], {}, id="a tenant's new name touches nobody"),
        pytest.param(
            [edited(tenant(), state=TenantState.SUSPENDED)], {"tenants": {"firm-a"}}, id="its suspension does"
        ),
        pytest.param(
            [added(Deny(id="d-1", target="a.example.com"))],
            {"denies": {"d-1"}, "everything": True},
            id="a deny touches everybody",
        ),
        pytest.param(
            [edited(service("s", "a.example.com"), retired=True)],
            {"services": {"s"}, "everything": True},
            id="so does a service",
        ),
        pytest.param([edited(Line(id="hk1", device="l1"), name="HK")], {}, id="a line's new name touches nobody"),
        pytest.param(
            [edited(Line(id="hk1", device="l1"), officer="L", bandwidth=7, customer=CustomerFile(name="A"))],
            {},
            id="nor does its contract side",
        ),
        pytest.param(
            [edited(Line(id="hk1", device="l1"), shares=(LineShare(tenant="firm-a", number=1),))],
            {"lines": {"hk1"}, "everything": True},
            id="a share of it touches everybody",
        ),
        pytest.param(
            [edited(Line(id="hk1", device="l1"), drained=True)],
            {"lines": {"hk1"}, "everything": True},
            id="its draining does",
        ),
    ],
)
def test_whom_a_change_touches(changes: list[Any], expected: dict[str, Any]) -> None:
    found = compiler.touched(changes)
    assert {name: value for name, value in msgspec.structs.asdict(found).items() if value} == expected


def test_casbin_says_which_roles_a_name_holds() -> None:
    assert closure("tenant:a", ["group:y", "group:x"]) == ("tenant:a", "group:x", "group:y")
    assert closure("tenant:a", []) == ("tenant:a",)


def test_a_model_in_which_deny_does_not_override_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model()
    text = Path("configs/casbin/model.conf").read_text().replace("&& !some(where (p.eft == deny))", "")
    (tmp_path / "casbin").mkdir()
    (tmp_path / "casbin" / "model.conf").write_text(text)
    monkeypatch.setattr("whitelist.casbin_model.files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="deny must override allow"):
        load_model()
