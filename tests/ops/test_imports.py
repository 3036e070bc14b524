"""Importing spreadsheets and other proxies' rules: good rows become one proposal, the others are told."""

import contextlib
import csv
import io
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from ops.imports import cells
from ops.imports.model import Imported, Kind, Unreadable, Usual
from ops.imports.read import read, template_csv, template_xlsx
from ops.policyfile.read import read_texts
from ops.policyfile.write import document

FROM, UNTIL = 1_795_536_000, 1_795_536_000 + 365 * 86_400
USUAL = Usual("acme", ("hk1",), FROM, UNTIL)
BARE = Usual("acme", (), FROM, 0)


def table(tmp_path: Path, *rows: list[Any], usual: Usual = USUAL, encoding: str = "utf-8", **more: Any) -> Imported:
    """A CSV with these rows, imported."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path = tmp_path / "list.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    return read(path, usual, **more)


def book(tmp_path: Path, *rows: list[Any], usual: Usual = USUAL) -> Imported:
    """The same as a workbook."""
    made = Workbook()
    assert made.active is not None
    made.active.title = "白名单"
    for row in rows:
        made.active.append(row)
    made.save(tmp_path / "list.xlsx")
    return read(tmp_path / "list.xlsx", usual)


def ways(found: Imported) -> list[str]:
    """protocol://target:ports of all services."""
    return [
        f"{way['protocol']}://{way['target']}:{','.join(map(str, way['ports']))}"
        for service in found.services
        for way in service["endpoints"]
    ]


@pytest.mark.parametrize("reader", [table, book], ids=["CSV", "xlsx"])
def test_a_row_becomes_a_service_and_its_grant(reader: Any, tmp_path: Path) -> None:
    head = ["名称", "域名", "端口", "用途", "数据级别", "专线", "生效日期", "到期日期", "星期", "时段", "目的国家"]
    row = [
        "arXiv",
        "arxiv.org、*.arxiv.org",
        443,
        "内部办公自用",
        "重要",
        "hk1,sg1",
        "2026-12-01",
        "2027年11月30日",
        "周一至周五",
        "08:00—20:00",
        "us",
    ]
    found = reader(tmp_path, head, row, usual=BARE)
    assert found.reports == []
    assert found.services == [
        {
            "id": "arxiv",
            "name": "arXiv",
            "endpoints": [
                {"target": "arxiv.org", "ports": [443], "protocol": "tls"},
                {"target": "*.arxiv.org", "ports": [443], "protocol": "tls"},
            ],
        }
    ]
    assert found.grants == [
        {
            "subject": "tenant:acme",
            "object": "service:arxiv",
            "lines": ["hk1", "sg1"],
            "window": {
                "valid_from": 1_796_054_400,
                "valid_until": 1_796_054_400 + 365 * 86_400,
                "weekdays": [0, 1, 2, 3, 4],
                "start_minute": 480,
                "end_minute": 1200,
            },
            "purpose": "internal_office",
            "data_grade": "important",
            "destination_country": "US",
        }
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        pytest.param("api.example.com", "tls://api.example.com:443", id="a host"),
        pytest.param("API.Example.COM.", "tls://api.example.com:443", id="in capitals, with its root"),
        pytest.param("https://api.example.com/", "tls://api.example.com:443", id="a URL"),
        pytest.param("http://api.example.com", "http://api.example.com:80", id="a plain URL"),
        pytest.param("api.example.com:8443", "tls://api.example.com:8443", id="with its port"),
        pytest.param("*.example.com", "tls://*.example.com:443", id="a wildcard"),
        pytest.param("203.0.113.7", "tls://203.0.113.7/32:443", id="an address"),
        pytest.param("203.0.113.0/28", "tls://203.0.113.0/28:443", id="a prefix"),
        pytest.param("2001:db8::/48", "tls://2001:db8::/48:443", id="an IPv6 prefix"),
        pytest.param("[2001:db8::1]:22", "tls://2001:db8::1/128:22", id="an IPv6 address with a port"),
        pytest.param("bücher.example", "tls://xn--bcher-kva.example:443", id="an international name"),
    ],
)
def test_hosts_are_read_as_people_write_them(tmp_path: Path, cell: str, expected: str) -> None:
    found = table(tmp_path, ["host"], [cell])
    assert (ways(found), found.reports) == ([expected], [])


@pytest.mark.parametrize(
    ("head", "cell", "column", "said", "remedy"),
    [
        pytest.param("域名", "api .example", "A host", "a single label", "api.example.com", id="half a name"),
        pytest.param(
            "域名", "ftp://api.example.com", "A host", "ftp:// cannot be let through", "", id="another scheme"
        ),
        pytest.param(
            "域名",
            "https://u:secret@api.example.com",
            "A host",
            "a user name or password stands in",
            "change that password",
            id="a password",
        ),
        pytest.param(
            "域名",
            "*.com",
            "host",
            "covers everybody's names under the public suffix com",
            "name the organisation",
            id="everybody's names",
        ),
        pytest.param("域名", "0.0.0.0/0", "host", "is the whole internet", "name the prefix", id="everything"),
        pytest.param("域名", "*.203.0.113.7", "A host", "a wildcard is for names", "", id="a wildcard of an address"),
        pytest.param("域名", "api.example.com:99999", "A host", "is no port", "", id="no port"),
        pytest.param("端口", "80-9000", "A ports", "is no range of at most 64 ports", "name those", id="a wide range"),
        pytest.param("协议", "udp", "A protocol", "'udp' is no protocol", "", id="no protocol"),
        pytest.param(
            "数据级别", "核心", "A data_grade", "core data (核心) never leaves", "leave the row out", id="core data"
        ),
        pytest.param("到期日期", "2027-02-30", "A until", "'2027-02-30' is no date", "", id="no day"),
        pytest.param(
            "到期日期",
            "2020-01-01",
            "A until",
            "ends before it begins",
            "after the beginning",
            id="an end before the beginning",
        ),
        pytest.param("时段", "20:00-08:00", "A hours", "over midnight", "", id="hours over midnight"),
        pytest.param("专线", "HK 1!", "A lines", "'1!' is no id", "", id="no line"),
        pytest.param("目的国家", "新加坡", "A country", "is no country code", "", id="a country's name"),
        pytest.param("服务编号", "No Such", "A service", "'No Such' is no id", "", id="no service"),
    ],
)
def test_a_bad_row_is_told_with_row_column_and_remedy(
    tmp_path: Path, head: str, cell: str, column: str, said: str, remedy: str
) -> None:
    heads, row = ([head, "host"], [cell, "good.example"]) if head != "域名" else ([head], [cell])
    other = ["2028-01-01" if head == "到期日期" else "", "other.example"] if len(heads) == 2 else ["other.example"]
    found = table(tmp_path, heads, row, other)
    bad = [report for report in found.reports if report.kind is Kind.BAD]
    assert [(report.sheet, report.row, report.column) for report in bad] == [("list.csv", 2, column)]
    assert said in f"{bad[0].said}; {bad[0].remedy}"
    assert remedy in f"{bad[0].said}; {bad[0].remedy}"
    assert (found.rows, found.good, len(found.grants)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("encoding", "head"),
    [
        ("utf-8", "域名"),
        ("utf-8-sig", "域名"),
        ("utf-16", "域名"),
        ("gb18030", "域名"),
        ("gbk", "网址"),
        ("utf-8", "Host Name"),
        ("utf-8", "域 名(必填)"),
        ("utf-8", "域名 host"),
    ],
)
def test_every_encoding_and_spelling_of_a_heading_is_read(tmp_path: Path, encoding: str, head: str) -> None:
    found = table(tmp_path, ["用途", head], ["内部办公", "api.example.com"], encoding=encoding)
    assert ways(found) == ["tls://api.example.com:443"]
    assert found.grants[0]["purpose"] == "internal_office"


def test_full_width_and_invisible_characters_are_normalised_and_told(tmp_path: Path) -> None:
    found = table(tmp_path, ["域名", "端口"], ["ａｐｉ。example．com", "４４３"], ["b\u200b.example", "443"])
    assert ways(found) == ["tls://api.example.com:443", "tls://b.example:443"]
    assert [(r.kind, r.row, r.column) for r in found.reports] == [
        (Kind.CHANGED, 2, "A host"),
        (Kind.CHANGED, 2, "B ports"),
        (Kind.CHANGED, 3, "A host"),
    ]
    assert "'ａｐｉ。example．com' was read as 'api.example.com'" in found.reports[0].said


def test_a_path_is_left_out_and_told(tmp_path: Path) -> None:
    found = table(tmp_path, ["url"], ["https://api.example.com/v1?key=1"])
    assert (ways(found), found.reports[0].kind) == (["tls://api.example.com:443"], Kind.CHANGED)
    assert "'/v1?key=1' behind api.example.com was left out" in found.reports[0].said


def test_rows_with_the_same_name_and_terms_are_one_service_others_never_share_one(tmp_path: Path) -> None:
    rows = [
        ["Shop", "a.example", "2028-01-01"],
        ["Shop", "b.example", "2028-01-01"],
        ["Shop", "c.example", "2029-01-01"],
    ]
    found = table(tmp_path, ["name", "host", "until"], *rows)
    assert [len(service["endpoints"]) for service in found.services] == [2, 1]
    assert found.services[0]["id"] == "shop"
    assert found.services[1]["id"].startswith("shop-")
    ends = [grant["window"]["valid_until"] for grant in found.grants]
    assert ends[0] < ends[1]


def test_duplicates_and_overlaps_are_told(tmp_path: Path) -> None:
    existing = {
        "docs": {
            "id": "docs",
            "endpoints": [
                {"target": "docs.example", "ports": [443], "protocol": "tls"},
                {"target": "d.example", "ports": [443], "protocol": "tls"},
            ],
        }
    }
    rows = [["*.a.example"], ["x.a.example"], ["x.a.example"], ["docs.example"]]
    found = table(tmp_path, ["host"], *rows, existing=existing)
    assert [(r.kind, r.row) for r in found.reports] == [(Kind.OVERLAP, 3), (Kind.DUPLICATE, 4), (Kind.OVERLAP, 5)]
    assert "covered by row 2 already" in found.reports[0].said
    assert "says the same as row 3" in found.reports[1].said
    assert "an endpoint of service docs already" in found.reports[2].said


def test_what_the_register_has_is_granted_as_it_is(tmp_path: Path) -> None:
    existing = {"docs": {"id": "docs", "endpoints": [{"target": "docs.example", "ports": [443], "protocol": "tls"}]}}
    by_host = table(tmp_path, ["host"], ["docs.example"], existing=existing)
    assert (by_host.services, by_host.grants[0]["object"]) == ([], "service:docs")
    by_name = table(tmp_path, ["service"], ["docs"], ["nope"], existing=existing)
    assert (by_name.services, len(by_name.grants)) == ([], 1)
    assert "there is no service nope" in by_name.reports[0].said


def test_headings_stand_below_a_title_and_columns_nobody_knows_are_told(tmp_path: Path) -> None:
    found = table(tmp_path, ["艾克米公司申请表"], [], ["部门", "域名"], ["研发", "a.example"])
    assert ways(found) == ["tls://a.example:443"]
    assert [(r.kind, r.row, r.column) for r in found.reports] == [(Kind.NOTE, 3, "A 部门")]


@pytest.mark.parametrize("reader", [table, book], ids=["CSV", "xlsx"])
def test_a_table_without_headings_is_refused(reader: Any, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"no row of headings.*--template"):
        reader(tmp_path, ["a.example", "443"])


def test_cells_of_a_workbook_are_read_as_they_are_shown(tmp_path: Path) -> None:
    found = book(tmp_path, ["host", "port", "until"], ["a.example", 443.0, date(2028, 1, 1)])
    assert (ways(found), found.reports) == (["tls://a.example:443"], [])


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_the_template_can_be_imported_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"form{suffix}"
    template_xlsx(path) if suffix == ".xlsx" else path.write_bytes(template_csv())
    found = read(path, BARE)
    assert (found.reports, found.good) == ([], 1)


def test_a_workbook_that_unpacks_without_end_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(6):
            with archive.open(f"xl/worksheets/sheet{n}.xml", "w") as part:
                for _ in range(100):
                    part.write(bytes(1 << 20))
    assert path.stat().st_size < 4 << 20
    with pytest.raises(Unreadable, match=r"unpacks to 600 MiB.*save the sheet alone"):
        read(path, USUAL)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        pytest.param("a.xlsx", b"PK\x03\x04 and then nothing", "is no .xlsx", id="a broken zip"),
        pytest.param("a.xlsx", b"", "is no .xlsx", id="an empty workbook"),
        pytest.param("a.xls", b"\xd0\xcf\x11\xe0", "before 2007", id="an old workbook"),
        pytest.param("a.csv", b"", "no row of headings", id="an empty table"),
        pytest.param("a.yaml", b"a: &a [*a]\n", "is a YAML alias", id="an alias"),
        pytest.param("a.yaml", b"a: 1\n", "no list of services", id="another YAML"),
        pytest.param("none.csv", None, "cannot be read: No such file", id="no file"),
    ],
)
def test_files_of_which_nothing_can_be_read(tmp_path: Path, name: str, data: bytes | None, said: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(Unreadable) as refused:
        read(path, USUAL)
    assert said in refused.value.said
    assert refused.value.remedy


SQUID = """\
acl localnet src 10.0.0.0/8
acl SSL_ports port 443
acl office dstdomain .example.com docs.example.org   # the office
acl office dstdomain bad_name!
acl feed dst 203.0.113.0/28
acl feedport port 8443
acl night time 20:00-24:00
acl video dstdom_regex youtube
acl listed dstdomain "/etc/squid/list"
http_access deny !SSL_ports
http_access deny office
http_access allow localnet office
http_access allow feed feedport
http_access allow office night
http_access allow video
http_access allow localnet
http_access deny all
"""


def test_squid_rules_that_are_about_destinations_are_read_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "squid.conf"
    path.write_text(SQUID)
    found = read(path, USUAL)
    assert sorted(ways(found)) == sorted(
        ["tls://*.example.com:443", "tls://example.com:443", "tls://docs.example.org:443", "tls://203.0.113.0/28:8443"]
    )
    told = {(r.row, r.kind): r.said for r in found.reports if r.kind is not Kind.OVERLAP}
    assert "bad_name! is no host name" in told[4, Kind.BAD]
    assert "another file, /etc/squid/list" in told[9, Kind.BAD]
    assert "denies office" in told[11, Kind.NOTE]
    assert "hangs on night (time)" in told[14, Kind.BAD]
    assert "hangs on video (dstdom_regex)" in told[15, Kind.BAD]
    assert "allows everything" in told[16, Kind.BAD]
    assert len({grant["object"] for grant in found.grants}) == 2


SMOKESCREEN = """\
version: v1
services:
  - name: billing
    project: money
    action: enforce
    allowed_domains:
      - api.example.com
      - '*.pay.example'
      - not a name
  - name: old
    project: x
    action: open
  - name: trial
    project: y
    action: report
    allowed_domains: [t.example]
default:
  project: other
  action: enforce
  allowed_domains: [d.example]
global_deny_list: [evil.example]
"""


def test_smokescreen_services_are_read_and_open_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "acl.yaml"
    path.write_text(SMOKESCREEN)
    found = read(path, USUAL)
    expected = ["api.example.com", "*.pay.example", "t.example", "d.example"]
    assert ways(found) == [f"tls://{target}:443" for target in expected]
    assert [service["id"] for service in found.services] == ["billing", "trial", "default"]
    told = {(r.row, r.kind): r.said for r in found.reports}
    assert "not a name is no host name" in told[9, Kind.BAD]
    assert "old may reach everything" in told[10, Kind.BAD]
    assert "trial is only watched there" in told[13, Kind.NOTE]
    assert "holds for everybody" in told[21, Kind.NOTE]


def test_what_is_imported_is_a_policy_file(tmp_path: Path) -> None:
    found = table(tmp_path, ["name", "host", "星期"], ["新闻", "news.example", "周一"], ["Shop: #1", "b.example", ""])
    text = document({"services": found.services, "grants": found.grants})
    again = read_texts([("a.yaml", text)]).proposal
    assert len(again.services) == len(found.services) == 2
    assert [grant["object"] for grant in again.grants] == [grant["object"] for grant in found.grants]


BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_CELL = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["a.example", "*.b.example", "443", "核心", "2027-01-01", "１", "\u200b", "https://x.example:1/"]),
)


def checked(found: Imported) -> None:
    """Every row is good or told, and what is good is a policy file again."""
    bad = {(report.sheet, report.row) for report in found.reports if report.kind is Kind.BAD}
    assert found.good + len(bad) >= found.rows
    read_texts([("a.yaml", document({"services": found.services, "grants": found.grants}))])


@BOUNDED
@given(st.binary(max_size=400))
@pytest.mark.parametrize("name", ["a.csv", "a.conf", "a.yaml", "a.xlsx"])
def test_any_bytes_are_read_or_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with contextlib.suppress(Unreadable):
        checked(read(path, USUAL))


@BOUNDED
@given(
    st.lists(st.lists(_CELL, min_size=1, max_size=6), max_size=6),
    st.permutations(["域名", "端口", "until", "data grade", "服务名称", "lines"]),
)
@example([["0.A", "\x7f"]], ["域名", "服务名称", "until", "data grade", "端口", "lines"])
@example([["", "", "0000:00:00", "0.A"]], ["端口", "until", "服务名称", "域名", "data grade", "lines"])  # YAML's date
def test_any_cells_are_read_or_told(tmp_path: Path, rows: list[list[str]], head: list[str]) -> None:
    checked(table(tmp_path, head, *rows))


@BOUNDED
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    "acl",
                    "http_access",
                    "allow",
                    "deny",
                    "a",
                    "b",
                    "dstdomain",
                    "port",
                    "!a",
                    "443",
                    ".x.example",
                    "all",
                    '"',
                    "\\",
                ]
            ),
            max_size=6,
        ),
        max_size=8,
    )
)
def test_any_rules_of_squid_are_read_or_told(tmp_path: Path, lines: list[list[str]]) -> None:
    path = tmp_path / "squid.conf"
    path.write_text("\n".join(" ".join(line) for line in lines))
    checked(read(path, USUAL, kind="squid"))


@settings(deadline=None)
@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert cells.normal(cells.normal(text)) == cells.normal(text)
