"""What rules allow, as tables; and what is wrong with rules."""

import pytest

from whitelist.inspection import Inner, Inspect, Rule, answer_fault, inspect_faults, judge, media_type, path_fault
from whitelist.reason import Reason

READ = Rule(id="read", paths=("/repos/{owner}/{repo}", "/search", "/raw/*"))
WRITE = Rule(
    id="write", methods=("POST",), paths=("/repos/{owner}/{repo}/issues",), upload_types=("application/json", "text/*"),
    upload_bytes=1000,
)  # fmt: skip
SOCKET = Rule(id="socket", paths=("/live",), websocket=True)
CALLS = Rule(id="calls", methods=("POST",), paths=("/pkg.Service/{call}",), grpc=True)
INSPECT = Inspect(rules=(READ, WRITE, SOCKET, CALLS))
PATH, METHOD = Reason.PATH_NOT_ALLOWED, Reason.METHOD_NOT_ALLOWED
CONTENT, PROTOCOL = Reason.CONTENT_NOT_ALLOWED, Reason.PROTOCOL_NOT_ALLOWED

JUDGED: dict[str, tuple[Inner, str]] = {
    "an exact path": (Inner("GET", "/search"), "read"),
    "a template": (Inner("HEAD", "/repos/a/b"), "read"),
    "all below a prefix": (Inner("GET", "/raw/a/b/c"), "read"),
    "the prefix itself": (Inner("GET", "/raw/"), "read"),
    "the prefix without its slash": (Inner("GET", "/raw"), PATH),
    "a segment too few for the template": (Inner("GET", "/repos/a"), PATH),
    "an empty segment for the template": (Inner("GET", "/repos//b"), PATH),
    "a segment too many": (Inner("GET", "/repos/a/b/c"), PATH),
    "another path that begins alike": (Inner("GET", "/searching"), PATH),
    "the path in capitals": (Inner("GET", "/SEARCH"), PATH),
    "an encoded letter of the path": (Inner("GET", "/s%65arch"), PATH),
    "a method of another rule": (Inner("POST", "/search"), METHOD),
    "a method in lower case": (Inner("get", "/search"), METHOD),
    "allowed content": (Inner("POST", "/repos/a/b/issues", "application/json; charset=utf-8", 10), "write"),
    "allowed content by its kind": (Inner("POST", "/repos/a/b/issues", "text/markdown", 10), "write"),
    "other content": (Inner("POST", "/repos/a/b/issues", "application/zip", 10), CONTENT),
    "content that does not say what it is": (Inner("POST", "/repos/a/b/issues", "", 10), CONTENT),
    "content of unknown length": (Inner("POST", "/repos/a/b/issues", "text/plain", None), "write"),
    "no content": (Inner("POST", "/repos/a/b/issues", "", 0), "write"),
    "as much content as is allowed": (Inner("POST", "/repos/a/b/issues", "text/plain", 1000), "write"),
    "more content": (Inner("POST", "/repos/a/b/issues", "text/plain", 1001), CONTENT),
    "a type that is a pattern": (Inner("POST", "/repos/a/b/issues", "text/*", 10), CONTENT),
    "a WebSocket": (Inner("GET", "/live", upgrade="websocket"), "socket"),
    "a WebSocket elsewhere": (Inner("GET", "/search", upgrade="websocket"), PROTOCOL),
    "another protocol": (Inner("GET", "/live", upgrade="h2c"), PROTOCOL),
    "gRPC": (Inner("POST", "/pkg.Service/Say", "application/grpc+proto", None), "calls"),
    "gRPC elsewhere": (Inner("POST", "/repos/a/b/issues", "application/grpc", None), PROTOCOL),
    "dot segments below a prefix": (Inner("GET", "/raw/../search"), PATH),
}  # fmt: skip


@pytest.mark.parametrize("case", JUDGED)
def test_a_request_is_judged_by_the_rules(case: str) -> None:
    inner, wanted = JUDGED[case]
    found = judge(INSPECT, inner)
    assert (found.id if isinstance(found, Rule) else found[0]) == wanted


TWO_READINGS = [
    "", "a", "*", "//a", "/a/..", "/a/../b", "/./a", "/a/.", "/%2e%2e/a", "/.%2E/a", "/a/..;x/b", "/a%2fb", "/a%2Fb",
    "/a\\b", "/a%5cb", "/a%00b", "/a%252fb", "/a%252e", "/a b", "/a\tb", "/a\x7f", "/ä", "/a\r\nb", "/a#b",
]  # fmt: skip


@pytest.mark.parametrize("path", TWO_READINGS)
def test_a_path_with_two_readings_is_refused_whatever_the_rules_say(path: str) -> None:
    assert path_fault(path)
    assert judge(Inspect(rules=(Rule(paths=("/*",)),)), Inner("GET", path)) == (PATH, path_fault(path))


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b.c", "/...", "/a..b/c", "/.well-known/x", "/a%20b", "/a;b=c", "/~a/(b)"]
)
def test_an_ordinary_path_has_one_reading(path: str) -> None:
    assert path_fault(path) == ""


ANSWERS: dict[str, tuple[str, int | None, bool]] = {
    "of the type": ("image/png", 5, True),
    "of another type": ("text/html", 5, False),
    "of no type": ("", 5, False),
    "of no type and empty": ("", 0, True),
    "as large as allowed": ("image/png", 100, True),
    "larger": ("image/png", 101, False),
    "of unknown length": ("image/png", None, True),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_held_against_the_rule(case: str) -> None:
    kind, length, fine = ANSWERS[case]
    fault = answer_fault(Rule(download_types=("image/*",), download_bytes=100), kind, length)
    assert (fault is None) is fine
    assert fault is None or fault[0] is CONTENT


@pytest.mark.parametrize(
    ("text", "media"),
    [("Text/HTML; charset=x", "text/html"), ("a/b", "a/b"), ("*/*", ""), ("text/*", ""), ("text", ""), ("a/b c", "")],
)
def test_a_media_type_is_read_alone(text: str, media: str) -> None:
    assert media_type(text) == media


WRONG: dict[str, tuple[Inspect, str]] = {
    "no rule": (Inspect(rules=()), "inspect.rules"),
    "a method in lower case": (Inspect(rules=(Rule(methods=("get",)),)), "inspect.rules[0].methods"),
    "CONNECT": (Inspect(rules=(Rule(methods=("CONNECT",)),)), "inspect.rules[0].methods"),
    "no method": (Inspect(rules=(Rule(methods=()),)), "inspect.rules[0].methods"),
    "no path": (Inspect(rules=(Rule(paths=()),)), "inspect.rules[0].paths"),
    "a path without its slash": (Inspect(rules=(Rule(paths=("a",)),)), "inspect.rules[0].paths"),
    "an asterisk in the middle": (Inspect(rules=(Rule(paths=("/a/*/b",)),)), "inspect.rules[0].paths"),
    "a query": (Inspect(rules=(Rule(paths=("/a?b",)),)), "inspect.rules[0].paths"),
    "dot segments": (Inspect(rules=(Rule(paths=("/a/../b",)),)), "inspect.rules[0].paths"),
    "a type that is none": (Inspect(rules=(Rule(upload_types=("json",)),)), "inspect.rules[0].upload_types"),
    "a size below nothing": (Inspect(rules=(Rule(upload_bytes=-1),)), "inspect.rules[0].upload_bytes"),
    "roots that are none": (Inspect(rules=(Rule(),), roots="x"), "inspect.roots"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rules_are_named(case: str) -> None:
    inspect, field = WRONG[case]
    assert [found for found, _ in inspect_faults(inspect)] == [field]


def test_the_rules_of_this_file_are_right() -> None:
    assert inspect_faults(INSPECT) == []
