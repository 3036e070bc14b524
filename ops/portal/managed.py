"""Settings of browsers and operating systems, by PAC: Firefox, Chrome and Edge, Windows group policy, macOS. Pure."""

import json
import plistlib
import uuid

from ops.portal.recipe import Recipe, words

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "feiyu.zone")
_POLICY = "SOFTWARE\\Policies"
_SETTINGS = "Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings"
_LOGIN = words(
    "浏览器首次使用时询问用户名和密码：填凭证编号和令牌。",
    "On first use the browser asks for a user name and a password: the credential's id and its token.",
)


def managed(pac: str, tenant: str) -> list[Recipe]:
    """All, for the PAC file at this URL. A PAC file that cannot be fetched must not mean DIRECT: where a browser can be
    told so, it is."""
    firefox = {"Proxy": {"Mode": "autoConfig", "AutoConfigURL": pac, "Locked": True}}
    no_other_way = {"network.proxy.failover_direct": {"Value": False, "Status": "locked"}}
    chrome = {"ProxyMode": "pac_script", "ProxyPacUrl": pac, "ProxyPacMandatory": True}
    return [
        Recipe(
            "browsers",
            words("浏览器：自动代理配置（PAC）地址", "Browsers: automatic proxy configuration (PAC)"),
            content=pac + "\n",
            note=_LOGIN,
        ),
        Recipe(
            "firefox",
            words("Firefox（策略）", "Firefox (policy)"),
            "/etc/firefox/policies/policies.json",
            _json({"policies": firefox | {"Preferences": no_other_way}}),
        ),
        Recipe(
            "chrome",
            words("Chrome（Linux 策略）", "Chrome (policy on Linux)"),
            "/etc/opt/chrome/policies/managed/feiyu.json",
            _json({"ProxySettings": chrome}),
        ),
        Recipe(
            "windows",
            words("Windows 组策略（注册表）", "Windows group policy (registry)"),
            "feiyu.reg",
            _registry(pac, json.dumps(chrome)),
            "reg import feiyu.reg",
            words(
                "组策略：计算机配置 → 管理模板 → Google Chrome / Microsoft Edge → 代理服务器设置，值同上；"
                "其他程序：用户配置 → 首选项 → 注册表 → AutoConfigURL。",
                "In group policy: Computer Configuration, Administrative Templates, Google Chrome or Microsoft Edge, "
                "Proxy settings, with the same value; for other programs User Configuration, Preferences, Registry, "
                "AutoConfigURL.",
            ),
        ),
        Recipe(
            "macos",
            words("macOS 描述文件", "macOS profile"),
            "feiyu.mobileconfig",
            _profile(pac, tenant),
            "networksetup -setautoproxyurl Wi-Fi " + pac,
            words(
                "描述文件需由 MDM 下发到受监管的设备；其他设备用上面的命令。",
                "The profile is for supervised devices, by MDM; on others type the command.",
            ),
        ),
    ]


def _registry(pac: str, chrome: str) -> str:
    value = chrome.replace("\\", "\\\\").replace('"', '\\"')
    lines = ["Windows Registry Editor Version 5.00", ""]
    for vendor in ("Google\\Chrome", "Microsoft\\Edge"):
        lines += [f"[HKEY_LOCAL_MACHINE\\{_POLICY}\\{vendor}]", f'"ProxySettings"="{value}"', ""]
    lines += [f"[HKEY_CURRENT_USER\\{_SETTINGS}]", f'"AutoConfigURL"="{pac}"', ""]
    return "\n".join(lines)


def _profile(pac: str, tenant: str) -> str:
    """A configuration profile (Apple, Configuration Profile Reference: com.apple.proxy.http.global)."""

    def head(kind: str, name: str) -> dict[str, object]:
        identifier = f"zone.feiyu.{tenant}.{name}"
        return {
            "PayloadType": kind,
            "PayloadVersion": 1,
            "PayloadIdentifier": identifier,
            "PayloadUUID": str(uuid.uuid5(_NAMESPACE, f"{identifier} {pac}")).upper(),
            "PayloadDisplayName": "Feiyu",
        }

    proxy = head("com.apple.proxy.http.global", "proxy") | {
        "ProxyType": "Auto",
        "ProxyPACURL": pac,
        "ProxyPACFallbackAllowed": False,
        "ProxyCaptiveLoginAllowed": False,
    }
    profile = head("Configuration", "profile") | {"PayloadContent": [proxy], "PayloadScope": "System"}
    return plistlib.dumps(profile).decode().replace("\t", "  ")  # tabs would not be shown as they are


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
