"""Settings of programs, exactly: curl, git, pip, npm, Docker, Java, Node, Go, apt and systemd. Pure.

The token stands in files that only their owner can read, never on a command line, where every process would see it.
"""

import json
from xml.sax.saxutils import escape

from ops.portal.recipe import NO_PROXY, Proxy, Recipe, words

ENV = "~/.feiyu-proxy.env"
_BUILDS = "~/.docker/config.json"


def programs(proxy: Proxy) -> list[Recipe]:
    """All, for this proxy."""
    secret = bool(proxy.user)
    return [
        Recipe(
            "environment",
            words("环境变量（shell、wget、Python、Go 等）", "Environment (shell, wget, Python, Go and others)"),
            ENV,
            _environment(proxy),
            f"set -a; . {ENV}; set +a",
            words(
                "大小写两种写法都需要：各程序读取的不同。",
                "Both spellings are needed: programs differ in which they read.",
            ),
            secret,
        ),
        Recipe(
            "curl",
            words("curl", "curl"),
            "~/.feiyu-curl",
            f'proxy = "{proxy.url}"\n' + (f'proxy-user = "{proxy.user}:{proxy.password}"\n' if secret else ""),
            "curl -K ~/.feiyu-curl https://HOST/",
            secret=secret,
        ),
        Recipe(
            "git",
            words("git（HTTPS）", "git (HTTPS)"),
            "~/.feiyu-git",
            f"[http]\n    proxy = {proxy.full}\n",
            "git config --global include.path '~/.feiyu-git'",
            secret=secret,
        ),
        Recipe(
            "pip",
            words("pip", "pip"),
            "~/.config/pip/pip.conf",
            f"[global]\nproxy = {proxy.full}\n",
            note=words(
                "软件源须在白名单内：pypi.org 与 files.pythonhosted.org。",
                "The index must be whitelisted: pypi.org and files.pythonhosted.org.",
            ),
            secret=secret,
        ),
        Recipe(
            "npm",
            words("npm", "npm"),
            "~/.npmrc",
            f"proxy={proxy.full}\nhttps-proxy={proxy.full}\nnoproxy={NO_PROXY}\n",
            note=words(
                "软件源须在白名单内：registry.npmjs.org。", "The registry must be whitelisted: registry.npmjs.org."
            ),
            secret=secret,
        ),
        Recipe(
            "docker-daemon",
            words("Docker：拉取镜像", "Docker: pulling images"),
            "/etc/docker/daemon.json",
            _json({"proxies": {"http-proxy": proxy.full, "https-proxy": proxy.full, "no-proxy": NO_PROXY}}),
            "systemctl restart docker",
            words(
                "Docker Engine 23 起。已有该文件时并入其中。",
                "Docker Engine 23 or newer. Merge into the file where there is one.",
            ),
            secret,
        ),
        Recipe(
            "docker-builds",
            words("Docker：构建与容器", "Docker: builds and containers"),
            _BUILDS,
            _json({"proxies": {"default": {"httpProxy": proxy.full, "httpsProxy": proxy.full, "noProxy": NO_PROXY}}}),
            note=words("容器内可读到令牌。", "Whoever is inside a container can read the token."),
            secret=secret,
        ),
        *_java(proxy, secret=secret),
        Recipe(
            "node",
            words("Node.js", "Node.js"),
            command=f"set -a; . {ENV}; set +a; NODE_USE_ENV_PROXY=1 node app.js",
            note=words(
                "Node 22.21 或 24 起。更早的版本须在程序中设置代理。",
                "Node 22.21 or 24 on. Older ones need a proxy agent in the program.",
            ),
        ),
        Recipe(
            "go",
            words("Go", "Go"),
            command=f"set -a; . {ENV}; set +a; go mod download",
            note=words("net/http 自动读取上述环境变量。", "net/http reads the environment above by itself."),
        ),
        Recipe(
            "apt",
            words("apt", "apt"),
            "/etc/apt/apt.conf.d/90feiyu",
            f'Acquire::http::Proxy "{proxy.full}";\nAcquire::https::Proxy "{proxy.full}";\n',
            note=words("所有者为 root。", "Owned by root."),
            secret=secret,
        ),
        Recipe(
            "systemd",
            words("systemd 服务", "systemd units"),
            "/etc/systemd/system/UNIT.service.d/feiyu.conf",
            "[Service]\nEnvironmentFile=/etc/feiyu-proxy.env\n",
            "systemctl daemon-reload && systemctl restart UNIT",
            words(
                "/etc/feiyu-proxy.env 的内容与上述环境变量文件相同，权限 0600。",
                "/etc/feiyu-proxy.env holds the same as the file of the environment above, mode 0600.",
            ),
        ),
    ]


def _environment(proxy: Proxy) -> str:
    lines = [f"{name}={proxy.full}" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")]
    lines += [f"{name}={NO_PROXY}" for name in ("no_proxy", "NO_PROXY")]
    return "\n".join(lines) + "\n"


def _java(proxy: Proxy, *, secret: bool) -> list[Recipe]:
    """Java takes no credential from a URL or a property of the JVM: build tools have settings of their own."""
    where = "".join(f" -D{s}.proxyHost={proxy.host} -D{s}.proxyPort={proxy.port}" for s in ("http", "https"))
    gradle = [f"systemProp.{s}.{key}={value}" for s in ("http", "https") for key, value in _java_fields(proxy)]
    maven = "".join(
        f"<proxy><id>feiyu-{s}</id><active>true</active><protocol>{s}</protocol><host>{escape(proxy.host)}</host>"
        f"<port>{proxy.port}</port>{_maven_login(proxy)}<nonProxyHosts>localhost|127.*</nonProxyHosts></proxy>\n"
        for s in ("http", "https")
    )
    no_basic = "jdk.http.auth.tunneling.disabledSchemes="
    return [
        Recipe(
            "java",
            words("Java", "Java"),
            command=f"export JAVA_TOOL_OPTIONS='{where.strip()} -D{no_basic}'",
            note=words(
                "凭证由程序以 java.net.Authenticator 给出：JVM 不从属性读取口令。",
                "The program gives the credential by java.net.Authenticator: the JVM reads none from properties.",
            ),
        ),
        Recipe(
            "gradle",
            words("Gradle", "Gradle"),
            "~/.gradle/gradle.properties",
            "\n".join([*gradle, f"systemProp.{no_basic}"]) + "\n",
            secret=secret,
        ),
        Recipe(
            "maven",
            words("Maven", "Maven"),
            "~/.m2/settings.xml",
            f"<settings><proxies>\n{maven}</proxies></settings>\n",
            secret=secret,
        ),
    ]


def _java_fields(proxy: Proxy) -> list[tuple[str, str]]:
    login = [("proxyUser", proxy.user), ("proxyPassword", proxy.password)] if proxy.user else []
    return [("proxyHost", proxy.host), ("proxyPort", str(proxy.port)), *login]


def _maven_login(proxy: Proxy) -> str:
    if not proxy.user:
        return ""
    return f"<username>{escape(proxy.user)}</username><password>{escape(proxy.password)}</password>"


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
