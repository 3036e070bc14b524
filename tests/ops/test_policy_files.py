"""Reading policy files: what they say, and what is said of files that cannot be used, with file, line and remedy."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.policyfile.files import MAX_FILE
from ops.policyfile.found import FilesError, Finding
from ops.policyfile.lint import lint
from ops.policyfile.read import read_files, read_texts
from ops.policyfile.write import document
from whitelist.proposal import digest

HEAD = "feiyu: policy/1\n"
BOMB = (
    HEAD
    + "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
        for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
    )
)
SERVICE = "services:\n- {id: s, endpoints: [tls://a.example:443]}\n"
GRANT = "lines: [hk1], from: 2026-01-01, until: 2027-01-01"


@pytest.mark.parametrize(
    ("content", "line", "wrong", "remedy"),
    [
        pytest.param("", 1, "the file is empty", "feiyu: policy/1", id="an empty file"),
        pytest.param("grants: []\n", 1, "feiyu is missing", "feiyu: …", id="no format"),
        pytest.param("feiyu: policy/9\n", 1, "'policy/9' is not valid here", "feiyu: policy/1", id="another format"),
        pytest.param(HEAD + "grant: []\n", 2, "unknown key 'grant'", "'grants', perhaps", id="an unknown section"),
        pytest.param(
            HEAD + "denies:\n- {target: a.example, port: 1}\n",
            3,
            "unknown key 'port'",
            "'ports', perhaps",
            id="an unknown field",
        ),
        pytest.param(
            HEAD + "name: a\nname: b\n", 3, "'name' stands already in line 2", "each key once", id="a key twice"
        ),
        pytest.param(
            HEAD + "groups:\n- {id: a}\n- {id: a}\n",
            4,
            "group a stands already in a.yaml:3",
            "remove one",
            id="an id twice",
        ),
        pytest.param(BOMB, 3, "*a is a YAML alias", "written out", id="a bomb of aliases"),
        pytest.param(HEAD + "groups: &g []\ncategories: *g\n", 3, "*g is a YAML alias", "written out", id="one alias"),
        pytest.param(HEAD + "x: " + "[" * 100_000, 2, "", "", id="brackets without end"),
        pytest.param(HEAD + "groups: [{id: a}\n", 3, "not YAML", "", id="no YAML"),
        pytest.param(HEAD + "---\n" + HEAD, 2, "not YAML", "", id="two documents"),
        pytest.param(
            HEAD + "x: !!python/object/apply:os.system [id]\n",
            2,
            "unknown key 'x'",
            "",
            id="a tag that would run something",
        ),
        pytest.param(
            HEAD + "grants:\n- {tenant: a, group: g, service: s}\n",
            3,
            "names both tenant and group",
            "one of the two",
            id="two subjects",
        ),
        pytest.param(
            HEAD + "grants:\n- {tenant: a}\n", 3, "names neither service nor category", "one of the two", id="no object"
        ),
        pytest.param(
            HEAD + "grants:\n- {tenant: a, service: s}\n",
            3,
            "lines is missing, here and in defaults",
            "lines: [hk1]",
            id="no lines",
        ),
        pytest.param(HEAD + "defaults: {until: 90d}\n", 2, "is no moment", "2027-11-23", id="a term that moves"),
        pytest.param(
            HEAD + f"grants:\n- {{tenant: a, service: s, {GRANT}, hours: 20:00-08:00}}\n",
            3,
            "over midnight",
            "08:00-20:00",
            id="hours over midnight",
        ),
        pytest.param(
            HEAD + f"grants:\n- {{tenant: a, service: s, {GRANT}, origin_country: NO}}\n",
            3,
            "a yes/no value ('NO')",
            "text",
            id="Norway",
        ),
        pytest.param(
            HEAD + "services:\n- {id: s, endpoints: [https://a.example]}\n",
            3,
            "tls://a.example",
            "SCHEME://HOST:PORT",
            id="a URL",
        ),
        pytest.param(
            HEAD + "tests:\n- {name: n, tenant: a, target: t, verdict: deny}\n",
            3,
            "reason is missing",
            "not-whitelisted",
            id="a denial without its reason",
        ),
        pytest.param(HEAD + "tests: {}\n", 2, "a mapping is not a list", "“- ”", id="no list"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_to_do(content: str, line: int, wrong: str, remedy: str) -> None:
    with pytest.raises(FilesError) as refused:
        read_texts([("a.yaml", content)])
    finding = refused.value.findings[0]
    assert (finding.file, finding.line) == ("a.yaml", line)
    assert wrong in finding.wrong
    assert remedy in finding.remedy


def test_everything_wrong_is_told_at_once() -> None:
    content = HEAD + "groups:\n- {id: A}\n- {id: b, no: 1}\nfoo: 1\n"
    with pytest.raises(FilesError) as refused:
        read_texts([("a.yaml", content)])
    assert [finding.line for finding in refused.value.findings] == [3, 4, 5]


def test_a_document_of_ten_megabytes_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text(HEAD + "groups:\n" + "- {id: aaaaaaaaaaaaaaaa}\n" * 420_000)
    assert path.stat().st_size > 10_000_000 > MAX_FILE
    with pytest.raises(FilesError, match=r"big.yaml:1: the file is larger than 8 MiB; divide it"):
        read_files([path])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"\xef\xbb\xbffeiyu: policy/1\n", "", id="a byte order mark is taken for what it is"),
        pytest.param(
            b"feiyu: policy/1\nname: \xff\n", ":2: is not UTF-8 here; save the file as UTF-8", id="another encoding"
        ),
        pytest.param(None, ":1: cannot be read: No such file", id="no file"),
    ],
)
def test_files_that_are_not_text(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "a.yaml"
    if data is not None:
        path.write_bytes(data)
    if not said:
        read_files([path])
        return
    with pytest.raises(FilesError) as refused:
        read_files([path])
    assert said in str(refused.value)


def test_a_directory_is_all_its_files_together(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(HEAD + "groups: [{id: b}]\n")
    (tmp_path / "a.yml").write_text(HEAD + "scope: {tenants: [t]}\ngroups: [{id: a}]\n")
    (tmp_path / "c.txt").write_text("not a policy")
    read = read_files([tmp_path])
    assert [group["id"] for group in read.proposal.groups] == ["a", "b"]
    assert read.proposal.scope.tenants == ("t",)


def test_dates_are_in_zone_time_and_include_their_last_day() -> None:
    content = (
        HEAD + "defaults: {lines: [hk1]}\ngrants:\n- {tenant: a, service: s, from: 2026-11-25, until: 2026-11-25}\n"
    )
    window = read_texts([("a.yaml", content)]).proposal.grants[0]["window"]
    assert window == {"valid_from": 1_795_536_000, "valid_until": 1_795_536_000 + 86_400}


def test_the_same_wishes_have_the_same_digest_however_they_are_laid_out() -> None:
    one = read_texts([("a.yaml", HEAD + "groups:\n  - id: a\n    name: A\n")]).proposal
    other = read_texts([("b.yaml", "groups: [{name: A, id: a}]\nfeiyu: policy/1\n")]).proposal
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("content", "line", "said", "warning"),
    [
        pytest.param(
            "services:\n- {id: s, endpoints: [tls://*.com:443]}\n",
            3,
            "public suffix com",
            False,
            id="everybody under a public suffix",
        ),
        pytest.param(
            "services:\n- id: s\n  endpoints:\n  - tls://A.example:443\n",
            5,
            "canonical form; write a.example",
            False,
            id="a name not in its one spelling, in its own line",
        ),
        pytest.param(
            f"grants:\n- {{tenant: a, service: s, {GRANT}, data_grade: core}}\n",
            3,
            "core data never leaves",
            False,
            id="core data",
        ),
        pytest.param(
            f"scope: zone\ngrants:\n- {{tenant: a, service: s, {GRANT}}}\n",
            4,
            "names service:s, which the files do not have",
            False,
            id="a name that a whole zone does not have",
        ),
        pytest.param(
            f"grants:\n- {{tenant: a, service: s, {GRANT}}}\n- {{tenant: a, service: s, {GRANT}}}\n",
            4,
            "already by the grant in a.yaml:3",
            True,
            id="the same grant twice",
        ),
        pytest.param(
            SERVICE + "- {id: t, endpoints: [tls://a.example:443]}\n",
            4,
            "share a.example:443",
            True,
            id="one endpoint in two services",
        ),
        pytest.param(
            SERVICE.replace("a.example", "a.bad.example") + "denies: [{target: '*.bad.example'}]\n",
            3,
            "under the global deny of *.bad.example",
            True,
            id="what deny beats",
        ),
        pytest.param(
            "grants:\n- {tenant: a, service: s, lines: [hk1], from: 2020-01-01, until: 2021-01-01}\n",
            3,
            "has passed",
            True,
            id="what is over",
        ),
        pytest.param(SERVICE, 1, "there are no tests", True, id="no tests"),
    ],
)
def test_lint_tells_mistakes_and_what_looks_like_one(content: str, line: int, said: str, warning: bool) -> None:
    found = [
        finding for finding in lint(read_texts([("a.yaml", HEAD + content)]), 1_790_000_000) if said in str(finding)
    ]
    assert [(finding.line, finding.warning) for finding in found] == [(line, warning)]
    assert found[0].remedy


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)
_MOMENT = st.integers(0, 4_000_000_000)


@settings(deadline=None)
@given(
    _TEXT,
    _TEXT,
    st.sets(st.integers(0, 6)),
    _MOMENT,
    _MOMENT,
    st.integers(0, 1438),
    st.lists(st.integers(1, 65535), unique=True),
)
def test_what_is_written_is_read_back_as_it_was(
    name: str, purpose: str, days: set[int], start: int, end: int, minute: int, ports: list[int]
) -> None:
    """Names that look like YAML, like numbers, like dates; every term, every window."""
    window = {"valid_from": start, "valid_until": end, "start_minute": minute, "end_minute": minute + 1}
    entries = {
        "groups": [{"id": "g", "name": name}],
        "grants": [
            {
                "id": "g-1", "subject": "group:g", "object": "category:c", "lines": ["hk1", "sg1"], "purpose": purpose,
                "window": {**window, **({"weekdays": sorted(days)} if days else {})},
            }
        ],
        "denies": [{"target": "*.bad.example", "note": name, **({"ports": ports} if ports else {})}],
    }  # fmt: skip
    read = msgspec.to_builtins(read_texts([("a.yaml", document(entries))]).proposal)
    assert msgspec.json.decode(msgspec.json.encode({key: read[key] for key in entries})) == entries


def test_rules_of_inspection_and_consents_are_read_back_as_they_were() -> None:
    rule = {"id": "a", "methods": ["GET"], "paths": ["/a/{b}", "/c/*"], "upload_bytes": 5, "websocket": True}
    roots = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
    inspect = {"protocol": "http", "rules": [rule], "download_bytes_per_day": 7, "roots": roots}
    window = {"valid_from": 1_764_000_000, "valid_until": 1_795_536_000}
    consent = {"document_sha256": "0f" * 32, "signatory": "L. R.", "date": 1_764_000_000, "until": 1_795_536_000}
    grant = {"id": "g-1", "subject": "tenant:acme", "object": "service:c", "lines": ["hk1"], "window": window}
    entries = {"tenants": [{"id": "acme", "consent": consent}], "grants": [grant | {"inspect": inspect}]}
    read = msgspec.to_builtins(read_texts([("a.yaml", document(entries))]).proposal)
    assert msgspec.json.decode(msgspec.json.encode({key: read[key] for key in entries})) == entries


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_words(content: str) -> None:
    findings: list[Finding] = []
    try:
        read_texts([("a.yaml", HEAD + content)])
    except FilesError as refused:
        findings = refused.findings
    assert all(finding.wrong and finding.line >= 1 for finding in findings)
