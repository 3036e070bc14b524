"""Canonical targets: each spelling ends in one reading or in a refusal with its reason."""

import pytest

from whitelist.reason import Reason
from whitelist.target import (
    Target,
    TargetError,
    host_header_matches,
    parse_absolute_uri,
    parse_authority,
    parse_host,
)

INVALID, MALFORMED, PROTOCOL = Reason.NAME_INVALID, Reason.MALFORMED_REQUEST, Reason.PROTOCOL_NOT_ALLOWED


def _encoded(label: str) -> str:
    """A name whose first label is the Punycode of what is given, valid or not."""
    return "xn--" + label.encode("punycode").decode() + ".com"


ONE_READING = {
    "an ordinary name": (b"api.example.com:443", "api.example.com", 443),
    "the highest port": (b"example.com:65535", "example.com", 65535),
    "the lowest port": (b"example.com:1", "example.com", 1),
    "upper case is folded": (b"API.Example.COM:443", "api.example.com", 443),
    "one trailing dot is dropped": (b"example.com.:443", "example.com", 443),
    "a hyphen pair that is not IDNA": (b"r3---sn-4g5e.example.com:443", "r3---sn-4g5e.example.com", 443),
    "capital sigmas are small ones, none of them final": ("ΣΑΣ.gr:443".encode(), "xn--mxa9ab.gr", 443),
    "a final sigma stays one": ("σας.gr:443".encode(), "xn--mxa8ab.gr", 443),
    "a capital i with a dot keeps it": ("İstanbul.example:443".encode(), "xn--istanbul-o0e.example", 443),
    "a Cyrillic look-alike is its own name": ("аpple.example:443".encode(), "xn--pple-43d.example", 443),
    "a middle dot in its place": ("l·l.cat:443".encode(), "xn--ll-0ea.cat", 443),
    "another script's digits before the last label": ("१२७.example:443".encode(), "xn--e4bcp.example", 443),
    "a number in scientific notation is no address to anybody": (b"2.130706433e9:80", "2.130706433e9", 80),
    "an address that a name only begins with": (b"127.0.0.1.nip.io:443", "127.0.0.1.nip.io", 443),
    "the reverse name of an address": (b"1.0.0.127.in-addr.arpa:443", "1.0.0.127.in-addr.arpa", 443),
    "labels of digits before the last one": (b"1.2.3.example:80", "1.2.3.example", 80),
    "a last label that only begins with digits": (b"example.4chan:80", "example.4chan", 80),
    "a last label that only begins like hexadecimal": (b"example.0xyz:80", "example.0xyz", 80),
    "a look-alike suffix is its own name": (b"evil-example.com:443", "evil-example.com", 443),
    "a look-alike prefix is its own name": (b"example.com.evil.net:443", "example.com.evil.net", 443),
    "an A-label that round-trips": (b"xn--fiqs8s.example:443", "xn--fiqs8s.example", 443),
    "an A-label in upper case": (b"XN--FIQS8S.example:443", "xn--fiqs8s.example", 443),
    "sharp s stays itself, not ss": ("faß.de:443".encode(), "xn--fa-hia.de", 443),
    "a Chinese name": ("例子.中国:443".encode(), "xn--fsqu00a.xn--fiqs8s", 443),
    "a Chinese name with a trailing dot": ("例子.中国.:443".encode(), "xn--fsqu00a.xn--fiqs8s", 443),
    "a capital umlaut is folded": ("BÜCHER.example:443".encode(), "xn--bcher-kva.example", 443),
    "a decomposed umlaut is composed": ("bu\u0308cher.example:443".encode(), "xn--bcher-kva.example", 443),
    "Persian with a joiner in its place": ("نامه\u200cای.com:443".encode(), "xn--mgba3gch31f060k.com", 443),
    "a label of 63 bytes": (b"a" * 63 + b".com:443", "a" * 63 + ".com", 443),
    "a name of 253 bytes": (b".".join([b"a" * 62] * 4) + b".b:443", ".".join(["a" * 62] * 4) + ".b", 443),
}


@pytest.mark.parametrize(("raw", "host", "port"), ONE_READING.values(), ids=ONE_READING)
def test_name_has_one_reading(raw: bytes, host: str, port: int) -> None:
    assert parse_authority(raw) == Target(host, port, is_ip=False)


ADDRESSES = {
    "a dotted quad": (b"93.184.215.14:443", "93.184.215.14"),
    "loopback is an address; the classifier refuses it": (b"127.0.0.1:80", "127.0.0.1"),
    "the unspecified address too": (b"0.0.0.0:80", "0.0.0.0"),
    "IPv6 in brackets": (b"[2001:db8::1]:443", "2001:db8::1"),
    "IPv6 unspecified": (b"[::]:443", "::"),
    "IPv6 loopback": (b"[::1]:443", "::1"),
    "an IPv4-mapped address in mixed notation": (b"[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1"),
    "an IPv4-compatible address in hexadecimal": (b"[::7f00:1]:80", "::7f00:1"),
    "the first of two equal zero runs is shortened": (b"[2001:db8::1:0:0:1]:80", "2001:db8::1:0:0:1"),
    "a single zero group is not shortened": (b"[2001:db8:0:1:1:1:1:1]:80", "2001:db8:0:1:1:1:1:1"),
}


@pytest.mark.parametrize(("raw", "host"), ADDRESSES.values(), ids=ADDRESSES)
def test_canonical_address_is_an_address(raw: bytes, host: str) -> None:
    target = parse_authority(raw)
    assert (target.host, target.is_ip) == (host, True)
    assert target.authority.encode() == raw


# Hosts put before ":443". What a resolver would read as an address is name-invalid in every spelling but the canonical.
DISGUISED = {
    "a short address": "127.1",
    "an address in three parts": "127.0.1",
    "one decimal number": "2130706433",
    "one hexadecimal number": "0x7f000001",
    "upper-case hexadecimal": "0X7F000001",
    "hexadecimal octets": "0x7f.0x0.0x0.0x1",
    "octal octets": "0177.0.0.1",
    "one octal number": "017700000001",
    "a leading zero in the last octet": "127.0.0.01",
    "zero": "0",
    "bare 0x, which is zero": "0x",
    "a name that ends in 0x": "example.0x",
    "a name that ends in a number": "example.com.1",
    "an octet too large": "256.0.0.1",
    "a number beyond 32 bits": "4294967296",
    "a hexadecimal number beyond 32 bits": "0x100000000",
    "all zeros in two digits": "00.00.00.00",
    "bare 0x four times": "0x.0x.0x.0x",
    "hexadecimal, octal and decimal in one": "1.0x1.01.1",
    "hexadecimal in two parts": "0x7f.1",
    "octets padded to three digits": "127.000.000.001",
    "an address with an octet missing in its middle": "127..0.1",
    "an address with a minus sign": "-127.0.0.1",
    "an address with a plus sign": "127.0.0.+1",
    "percent-encoded digits": "%31%32%37.0.0.1",
    "percent-encoded dots": "127%2e0%2e0%2e1",
    "a percent-encoded NUL behind an address": "127.0.0.1%00",
    "a comma between addresses": "127.0.0.1,93.184.215.14",
    "extended Arabic digits, which IDNA permits": "۱۲۷.۰.۰.۱",
    "Devanagari digits in the last label": "127.0.0.१",
    "extended Arabic digits as A-labels": "xn--embcp.xn--dmb.xn--dmb.xn--emb",
    "a full-width x in hexadecimal": "0ｘ7f000001",
    "a multiplication sign for the x": "0×7f000001",
    "a one dot leader": "127․0․0․1",
    "small full stops": "127﹒0﹒0﹒1",
    "an enclosed number": "⑴.0.0.1",
    "IPv6 with a dot at its end": "[::1.]",
    "IPv6 with an empty zone": "[::1%]",
    "IPv6 with a numbered zone": "[fe80::1%1]",
    "a gap for one group at the start": "[::2:3:4:5:6:7:8]",
    "a gap for one group at the end": "[1:2:3:4:5:6:7::]",
    "unspecified with zeros": "[0::0]",
    "loopback written out": "[0:0:0:0:0:0:0:1]",
    "a mapped address written out": "[0:0:0:0:0:ffff:127.0.0.1]",
    "a mapped address in capitals": "[::FFFF:127.0.0.1]",
    "a mapped address with a hexadecimal quad": "[::ffff:0x7f.0.0.1]",
    "a mapped address with five octets": "[::ffff:1.2.3.4.5]",
    "a letter beyond f": "[::g]",
    "an Arabic digit in brackets": "[::1١]",
    "five octets": "1.2.3.4.5",
    "an address with a trailing dot": "127.0.0.1.",
    "a short address with a trailing dot": "127.1.",
    "full-width digits": "１２７.0.0.1",
    "ideographic dots": "127。0。0。1",
    "full-width dots": "127．0．0．1",
    "half-width ideographic dots": "127｡0｡0｡1",
    "circled digits": "①②⑦.0.0.1",
    "superscript digits": "¹²⁷.0.0.1",
    "mathematical digits": "𝟏𝟐𝟕.0.0.1",
    "Arabic digits": "١٢٧.٠.٠.١",
    "a soft hyphen between digits": "12\u00ad7.0.0.1",
    "digits behind a zero width space": "\u200b127.0.0.1",
    "a dotted quad in brackets": "[127.0.0.1]",
    "a name in brackets": "[example.com]",
    "an IPvFuture literal": "[v1.fe80::a]",
    "an IPv6 zone": "[fe80::1%eth0]",
    "an escaped IPv6 zone": "[fe80::1%25eth0]",
    "IPv6 in upper case": "[2001:DB8::1]",
    "IPv6 with leading zeros": "[2001:0db8::1]",
    "IPv6 not shortened": "[2001:db8:0:0:0:0:0:1]",
    "IPv6 shortened at the shorter run": "[2001::1:0:0:0:1]",
    "IPv6 with a single group shortened": "[2001:db8::1:1:1:1:1]",
    "a mapped address in hexadecimal": "[::ffff:7f00:1]",
    "a compatible address in mixed notation": "[::127.0.0.1]",
    "a NAT64 address in mixed notation": "[64:ff9b::127.0.0.1]",
    "a mapped address with a short quad": "[::ffff:127.1]",
    "a mapped address with an octal quad": "[::ffff:0177.0.0.1]",
    "two gaps": "[1::2::3]",
    "nine groups": "[1:2:3:4:5:6:7:8:9]",
    "seven groups": "[1:2:3:4:5:6:7]",
    "a gap that stands for nothing": "[1:2:3:4::5:6:7:8]",
    "a group of five digits": "[12345::1]",
    "three colons": "[:::]",
    "full-width digits in brackets": "[：：１]",
}
NAMES = {
    "two trailing dots": "example.com..",
    "a leading dot": ".example.com",
    "an empty label": "example..com",
    "nothing but a dot": ".",
    "a single label": "localhost",
    "a single label with a trailing dot": "localhost.",
    "a single label that is international": "中国",
    "a capital sharp s, which was two letters once": "STRAẞE.example",
    "a middle dot out of place": "a·b.cat",
    "a Hangul filler, which shows nothing": "ㅤ.com",
    "a Hangul filler inside": "a\u115fb.com",
    "a combining grapheme joiner": "a\u034fb.com",
    "a Khmer vowel that shows nothing": "a\u17b4b.com",
    "a tag character": "a\U000e0061b.com",
    "a private character": "a\ue000b.com",
    "a noncharacter": "a\ufdd0b.com",
    "an unassigned character": "a\u0378b.com",
    "a fraction slash": "a⁄b.com",
    "a division slash": "a∕b.com",
    "a modifier colon": "example.com꞉80",
    "a full-width colon": "example.com：80",
    "an Armenian full stop": "a։com.com",
    "an ideographic space": "a\u3000b.com",
    "an em space": "a\u2003b.com",
    "a squared unit": "㎏.com",
    "a Roman numeral": "Ⅳ.com",
    "a digraph": "ǆ.com",
    "a Cherokee letter, whose case goes the other way": "Ꭰ.com",
    "a katakana dot alone": "・.com",
    "an emoji with its variation selector": "☕\ufe0f.example",
    "a mark that begins a label": "a.\u0301b.com",
    "a right-to-left label that begins with a digit": "1א.com",
    "a joiner behind a letter that takes none": "क\u200dष.com",
    "an international label that begins with a hyphen": "-ü.com",
    "an international label with two hyphens in third place": "ab--ü.com",
    "an A-label within an A-label": "xn--xn--a.com",
    "an underscore": "_dmarc.example.com",
    "an underscore inside": "a_b.example.com",
    "a label that begins with a hyphen": "-a.example.com",
    "a label that ends with a hyphen": "a-.example.com",
    "a last label that ends with a hyphen": "example.com-",
    "a label of 64 bytes": "a" * 64 + ".com",
    "a name of 254 bytes": ".".join(["a" * 62] * 4) + ".bc",
    "a name of 254 bytes with a trailing dot": ".".join(["a" * 62] * 4) + ".bc.",
    "a U-label whose A-label has 64 bytes": "ü" * 58 + ".com",
    "a comma": "example.com,evil.com",
    "a semicolon": "example.com;evil.com",
    "an ampersand": "example.com&evil.com",
    "a percent escape": "example%2ecom",
    "an escaped NUL": "example.com%00.evil.com",
    "an asterisk": "*.example.com",
    "a plus sign": "a+b.example.com",
    "a tilde": "~.example.com",
    "quotes": '"example.com"',
    "a pipe": "a|b.com",
    "braces": "{a}.com",
    "a full-width letter": "ｅxample.com",
    "a full-width dot": "example．com",
    "an ideographic dot": "example。com",
    "an ideographic trailing dot": "例子.中国。",
    "a full-width letter in an international label": "ｂücher.com",
    "a soft hyphen in an international label": "bü\u00adcher.com",
    "an ideographic dot behind an international label": "中国。com",
    "a ligature in an international label": "büﬃ.com",
    "a soft hyphen": "exam\u00adple.com",
    "a zero width space": "exam\u200bple.com",
    "a zero width joiner out of place": "exam\u200dple.com",
    "a zero width non-joiner out of place": "exam\u200cple.com",
    "a word joiner": "exam\u2060ple.com",
    "a byte order mark": "\ufeffexample.com",
    "a variation selector": "exam\ufe0fple.com",
    "a right-to-left override": "\u202eexample.com",
    "the account-of sign, which holds a slash": "℀.com",
    "a full-width solidus": "example.com／.evil.com",
    "a full-width number sign": "example.com＃.evil.com",
    "a full-width commercial at": "user＠example.com",
    "a full-width percent escape": "example％2ecom",
    "the Kelvin sign for k": "\u212aey.com",
    "a long s for s": "ſervice.com",
    "a ligature": "oﬃce.com",
    "a no-break space": "a\u00a0b.com",
    "a line separator": "a\u2028b.com",
    "a C1 control": "a\u0085b.com",
    "a combining mark first": "\u0308a.com",
    "mixed directions in a label": "aא.com",
    "an emoji, which IDNA 2008 does not know": "☃.com",
    "a lone xn--": "xn--.com",
    "an A-label of plain ASCII": "xn--example-.com",
    "an A-label that does not decode": "xn--99999999.com",
    "an A-label with a raw umlaut in it": "xn--b\u00fccher.com",
    "an A-label of the account-of sign": _encoded("℀"),
    "an A-label of an ideographic dot": _encoded("example。com"),
    "an A-label of a full-width digit": _encoded("１27"),
    "an A-label of a full-width letter": _encoded("ｅxample"),
    "an A-label of a soft hyphen": _encoded("exam\u00adple"),
    "an A-label of a zero width space": _encoded("exam\u200bple"),
    "an A-label of the capital umlaut": _encoded("bÜcher"),
    "an A-label with a hyphen too many": "xn---bbk.com",
    "an A-label that hides in the middle": "www.xn--a.example.com",
    "an A-label of an emoji": "xn--n3h.com",
}


@pytest.mark.parametrize("host", (DISGUISED | NAMES).values(), ids=DISGUISED | NAMES)
def test_host_is_not_a_name_or_address_in_its_one_spelling(host: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_authority(host.encode() + b":443")
    assert caught.value.reason is INVALID
    assert host not in caught.value.detail, "a detail carries no bytes of the client"


SHAPES = {
    "no port after the colon": b"example.com:",
    "no colon": b"example.com",
    "no host": b":443",
    "neither host nor port": b":",
    "nothing": b"",
    "a port with leading zeros": b"example.com:007",
    "port zero": b"example.com:0",
    "port 00": b"example.com:00",
    "a negative port": b"example.com:-12",
    "a port with a plus": b"example.com:+443",
    "a port by name": b"example.com:https",
    "a port of five digits too large": b"example.com:91337",
    "port 65536": b"example.com:65536",
    "a port of six digits": b"example.com:100000",
    "a hexadecimal port": b"example.com:0x1bb",
    "a port with an underscore": b"example.com:4_3",
    "a port of full-width digits": "example.com:４４３".encode(),
    "a port with a fraction": b"example.com:443.0",
    "a port of Arabic digits": "example.com:٤٤٣".encode(),
    "a port with a zero width space": "example.com:4\u200b43".encode(),
    "a port with a percent escape": b"example.com:443%20",
    "a port in scientific notation": b"example.com:1e3",
    "a superscript port": "example.com:²".encode(),
    "a port that is minus zero": b"example.com:-0",
    "two ports with a comma": b"example.com:443,80",
    "two ports": b"example.com:80:443",
    "a space before the port": b"example.com: 443",
    "a space behind the port": b"example.com:443 ",
    "a tab in the host": b"exa\tmple.com:443",
    "a line feed behind the port": b"example.com:443\n",
    "a carriage return in the host": b"example.com\r:443",
    "a NUL in the host": b"example.com\x00.evil.com:443",
    "a NUL behind the port": b"example.com:443\x00",
    "a DEL in the host": b"example\x7f.com:443",
    "userinfo": b"user@example.com:443",
    "userinfo with a password": b"user:secret@example.com:443",
    "empty userinfo": b"@example.com:443",
    "a host that is userinfo to a second reader": b"example.com:443@evil.com:443",
    "a backslash": b"example.com\\.evil.com:443",
    "a slash": b"example.com/:443",
    "a path behind the port": b"example.com:443/",
    "a query": b"example.com?:443",
    "a fragment": b"example.com#:443",
    "an absolute URI": b"http://example.com:443",
    "brackets in brackets": b"[[::1]]:1",
    "a bracket too many at the end": b"[::1]]:443",
    "a dot behind the brackets": b"[::1].:443",
    "a prefix in brackets": b"[::1/64]:443",
    "a space in brackets": b"[ ::1]:443",
    "a vertical tab in the host": b"a\x0b.com:443",
    "a form feed in the host": b"a\x0c.com:443",
    "a bracket that is not closed": b"[::1:443",
    "a bracket that is not opened": b"::1]:443",
    "brackets without a port": b"[::1]",
    "brackets without a colon before the port": b"[::1]443",
    "text before the bracket": b"a[::1]:443",
    "text behind the bracket": b"[::1]a:443",
    "IPv6 without brackets": b"2001:db8::1:443",
    "IPv6 loopback without brackets": b"::1:443",
    "a zone with a path in it": b"[fe80::1%/x]:443",
}


@pytest.mark.parametrize("raw", SHAPES.values(), ids=SHAPES)
def test_authority_has_a_broken_shape(raw: bytes) -> None:
    with pytest.raises(TargetError) as caught:
        parse_authority(raw)
    assert caught.value.reason is MALFORMED


OTHER_BYTES = {
    "Latin-1 instead of UTF-8": b"b\xfccher.example:443",
    "an overlong encoding of a slash": b"example.com\xc0\xaf:443",
    "an encoded surrogate": b"a\xed\xa0\x80.com:443",
    "empty brackets": b"[]:443",
    "an endless name": b"a." * 100_000 + b"com:443",
    "an endless label": b"a" * 100_000 + b".com:443",
    "an endless international label": "ü".encode() * 500 + b".com:443",
}


@pytest.mark.parametrize("raw", OTHER_BYTES.values(), ids=OTHER_BYTES)
def test_host_bytes_are_not_a_name(raw: bytes) -> None:
    with pytest.raises(TargetError) as caught:
        parse_authority(raw)
    assert caught.value.reason is INVALID


def test_single_label_is_a_name_only_where_the_caller_says_so() -> None:
    assert parse_host("gateway", 80, single_label=True) == Target("gateway", 80, is_ip=False)
    with pytest.raises(TargetError) as caught:
        parse_host("2130706433", 80, single_label=True)
    assert caught.value.reason is INVALID


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_port_of_a_host_is_checked(port: int) -> None:
    with pytest.raises(TargetError) as caught:
        parse_host("example.com", port)
    assert caught.value.reason is MALFORMED


URIS = {
    "a path": (b"http://example.com/a/b", "example.com:80", b"/a/b", b"/a/b", False, False),
    "a path and a query": (b"http://example.com/a?b=1", "example.com:80", b"/a?b=1", b"/a", True, False),
    "no path": (b"http://example.com", "example.com:80", b"/", b"/", False, True),
    "a query without a path": (b"http://example.com?q", "example.com:80", b"/?q", b"/", True, False),
    "an empty query": (b"http://example.com/?", "example.com:80", b"/?", b"/", True, False),
    "a port": (b"http://example.com:8080/", "example.com:8080", b"/", b"/", False, False),
    "a scheme in capitals": (b"HTTP://Example.com/A", "example.com:80", b"/A", b"/A", False, False),
    "an IPv6 host": (b"http://[2001:db8::1]/x", "[2001:db8::1]:80", b"/x", b"/x", False, False),
    "an IPv6 host with a port": (b"http://[2001:db8::1]:81/x", "[2001:db8::1]:81", b"/x", b"/x", False, False),
    "an at sign and a colon in the path": (b"http://a.com/@b:80/", "a.com:80", b"/@b:80/", b"/@b:80/", False, False),
    "a second URI in the query": (b"http://a.com/?u=http://b/", "a.com:80", b"/?u=http://b/", b"/", True, False),
    "a question mark in the query": (b"http://a.com/x?y?z", "a.com:80", b"/x?y?z", b"/x", True, False),
    "a double slash path": (b"http://a.com//b", "a.com:80", b"//b", b"//b", False, False),
}


@pytest.mark.parametrize(("raw", "authority", "origin_form", "path", "has_query", "bare"), URIS.values(), ids=URIS)
def test_absolute_uri_has_one_reading(
    raw: bytes, authority: str, origin_form: bytes, path: bytes, has_query: bool, bare: bool
) -> None:
    uri = parse_absolute_uri(raw)
    assert uri.target.authority == authority
    assert (uri.origin_form, uri.path, uri.has_query, uri.bare) == (origin_form, path, has_query, bare)


REFUSED_URIS = {
    "https, which goes through CONNECT": (b"https://example.com/", PROTOCOL),
    "ftp": (b"ftp://example.com/", PROTOCOL),
    "a WebSocket scheme": (b"ws://example.com/", PROTOCOL),
    "gopher": (b"gopher://example.com:70/", PROTOCOL),
    "a file": (b"file:///etc/passwd", PROTOCOL),
    "origin-form": (b"/index.html", MALFORMED),
    "asterisk-form": (b"*", MALFORMED),
    "authority-form": (b"example.com:443", MALFORMED),
    "nothing": (b"", MALFORMED),
    "no scheme": (b"//example.com/", MALFORMED),
    "an empty scheme": (b"://example.com/", MALFORMED),
    "one slash": (b"http:/example.com/", MALFORMED),
    "no slash": (b"http:example.com", MALFORMED),
    "no host": (b"http:///index.html", MALFORMED),
    "no host but a port": (b"http://:80/", MALFORMED),
    "no host but a query": (b"http://?x", MALFORMED),
    "an empty port": (b"http://example.com:/", MALFORMED),
    "a port with leading zeros": (b"http://example.com:0080/", MALFORMED),
    "a port too large": (b"http://example.com:91337/", MALFORMED),
    "userinfo": (b"http://user@example.com/", MALFORMED),
    "userinfo with a password": (b"http://user:secret@example.com/", MALFORMED),
    "three hosts in one": (b"http://1.1.1.1 &@2.2.2.2# @3.3.3.3/", MALFORMED),
    "a backslash before userinfo": (b"http://a:80\\@b:80/", MALFORMED),
    "a backslash for a slash": (b"http:\\\\example.com\\", MALFORMED),
    "a backslash in the path": (b"http://example.com/a\\b", MALFORMED),
    "a fragment": (b"http://example.com/#top", MALFORMED),
    "a fragment right behind the host": (b"http://example.com#@evil.com/", MALFORMED),
    "a space in the path": (b"http://example.com/a b", MALFORMED),
    "a line feed in the path": (b"http://example.com/a\nHost: evil.com", MALFORMED),
    "a line feed at the end": (b"http://example.com/\n", MALFORMED),
    "a NUL in the query": (b"http://example.com/?\x00", MALFORMED),
    "raw UTF-8 in the path": ("http://example.com/中".encode(), MALFORMED),
    "IPv6 without brackets": (b"http://2001:db8::1/", MALFORMED),
    "a leading space": (b" http://example.com/", MALFORMED),
    "two schemes": (b"http://http://example.com/", MALFORMED),
    "a decimal address": (b"http://2130706433/", INVALID),
    "a short address": (b"http://127.1/", INVALID),
    "a percent-encoded host": (b"http://%65xample.com/", INVALID),
    "an IPv6 zone": (b"http://[fe80::1%25eth0]/", INVALID),
    "a single label": (b"http://localhost/", INVALID),
    "a comma in the host": (b"http://a.com,b.com/", INVALID),
    "empty brackets": (b"http://[]/", INVALID),
}


@pytest.mark.parametrize(("raw", "reason"), REFUSED_URIS.values(), ids=REFUSED_URIS)
def test_absolute_uri_is_refused(raw: bytes, reason: Reason) -> None:
    with pytest.raises(TargetError) as caught:
        parse_absolute_uri(raw)
    assert caught.value.reason is reason


NAME = Target("example.com", 80, is_ip=False)
NAME8 = Target("example.com", 8080, is_ip=False)
V6 = Target("2001:db8::1", 80, is_ip=True)
HOSTS = {
    "the name alone": (NAME, "http", b"example.com", True),
    "the name and the default port": (NAME, "http", b"example.com:80", True),
    "the name in capitals": (NAME, "http", b"EXAMPLE.com", True),
    "the name with a trailing dot": (NAME, "http", b"example.com.", True),
    "the name and another port": (NAME, "http", b"example.com:8080", False),
    "a port left out that is not the default": (NAME8, "http", b"example.com", False),
    "the port that is not the default": (NAME8, "http", b"example.com:8080", True),
    "a port left out on CONNECT": (NAME8, "", b"example.com", True),
    "another port on CONNECT": (NAME8, "", b"example.com:443", False),
    "https left out means 443": (Target("example.com", 443, is_ip=False), "https", b"example.com", True),
    "another name": (NAME, "http", b"evil.com", False),
    "a subdomain": (NAME, "http", b"www.example.com", False),
    "nothing": (NAME, "http", b"", False),
    "two names": (NAME, "http", b"example.com, evil.com", False),
    "userinfo": (NAME, "http", b"user@example.com", False),
    "an empty port": (NAME, "http", b"example.com:", False),
    "a port with leading zeros": (NAME, "http", b"example.com:080", False),
    "a NUL": (NAME, "http", b"example.com\x00", False),
    "an URI": (NAME, "http", b"http://example.com", False),
    "IPv6 in brackets": (V6, "http", b"[2001:db8::1]", True),
    "IPv6 in brackets with the port": (V6, "http", b"[2001:db8::1]:80", True),
    "IPv6 without brackets": (V6, "http", b"2001:db8::1", False),
    "IPv6 in another spelling": (V6, "http", b"[2001:db8:0::1]", False),
}


@pytest.mark.parametrize(("target", "scheme", "header", "matches"), HOSTS.values(), ids=HOSTS)
def test_host_field_against_the_target(target: Target, scheme: str, header: bytes, matches: bool) -> None:
    assert host_header_matches(target, scheme, header) is matches


def test_target_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        NAME.host = "evil.com"  # type: ignore[misc]  # the refusal is what is tested
