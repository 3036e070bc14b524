"""Why a request was refused: the closed set, with its wire status and its words in English and Chinese."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """One reason per refusal; the value is what stands in headers, records and tests."""

    NOT_WHITELISTED = "not-whitelisted"
    PORT_NOT_ALLOWED = "port-not-allowed"
    PROTOCOL_NOT_ALLOWED = "protocol-not-allowed"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    PATH_NOT_ALLOWED = "path-not-allowed"
    CONTENT_NOT_ALLOWED = "content-not-allowed"
    ADDRESS_FORBIDDEN = "address-forbidden"
    NAME_MISMATCH = "name-mismatch"
    NAME_INVALID = "name-invalid"
    ECH_NOT_ALLOWED = "ech-not-allowed"
    DIRECTION_NOT_ALLOWED = "direction-not-allowed"
    SOURCE_NOT_ALLOWED = "source-not-allowed"
    TENANT_SUSPENDED = "tenant-suspended"
    TENANT_EXPIRED = "tenant-expired"
    GRANT_EXPIRED = "grant-expired"
    OUTSIDE_WINDOW = "outside-window"
    DATA_GRADE_FORBIDDEN = "data-grade-forbidden"
    CONSENT_MISSING = "consent-missing"
    KILL_SWITCH = "kill-switch"
    IDENTITY_UNKNOWN = "identity-unknown"
    IDENTITY_REVOKED = "identity-revoked"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    RATE_LIMITED = "rate-limited"
    QUOTA_EXHAUSTED = "quota-exhausted"
    MALFORMED_REQUEST = "malformed-request"
    REGULATOR_RULE = "regulator-rule"
    INTERNAL_ERROR = "internal-error"
    RESOLVE_FAILED = "resolve-failed"
    DIAL_FAILED = "dial-failed"
    UPSTREAM_TLS_FAILED = "upstream-tls-failed"
    LINE_UNAVAILABLE = "line-unavailable"
    POLICY_UNAVAILABLE = "policy-unavailable"
    EVIDENCE_UNAVAILABLE = "evidence-unavailable"
    INSPECTION_UNAVAILABLE = "inspection-unavailable"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class Wording:
    """Status code, short ASCII title for the status line, one sentence each of cause and remedy in English and Chinese,
    and the Proxy-Status error type (RFC 9209 clause 2.3)."""

    status: int
    title: str
    title_zh: str
    en: str
    zh: str
    remedy_en: str
    remedy_zh: str
    proxy_error: str


_ASK = "Ask your zone operator for a grant, quoting the reference."
_ASK_ZH = "请向园区运营方申请授权，并提供本编号。"
_LATER = "Try again in a few seconds; if it persists, call your zone operator with the reference."
_LATER_ZH = "请稍后重试；若持续出现，请携编号联系园区运营方。"
_FIX = "Correct the request; the reference tells your zone operator what was received."
_FIX_ZH = "请修正请求；运营方可凭编号查看收到的内容。"
_QUOTA = (
    "The quota begins anew with the next day or month of the zone; for a larger one ask your zone operator, "
    "quoting the reference."
)
_QUOTA_ZH = "配额在园区时间的次日或次月重新计算；如需提高配额，请携编号联系园区运营方。"
_LINE = (
    "Try again in a minute; if it persists, the line is out of service or its contract is over: "
    "call your zone operator with the reference."
)
_LINE_ZH = "请一分钟后重试；若持续出现，专线可能已停用或合同已到期，请携编号联系园区运营方。"
_DENIED = "http_request_denied"


def _w(status: int, title: str, title_zh: str, en: str, zh: str, remedy: tuple[str, str], proxy_error: str) -> Wording:
    return Wording(status, title, title_zh, en, zh, remedy[0], remedy[1], proxy_error)


_A, _L, _F = (_ASK, _ASK_ZH), (_LATER, _LATER_ZH), (_FIX, _FIX_ZH)
R = Reason
WORDING: dict[Reason, Wording] = {
    R.NOT_WHITELISTED: _w(403, "Not whitelisted", "不在白名单内", "This service is not on your firm's whitelist.", "该服务不在贵公司的白名单内。", _A, _DENIED),
    R.PORT_NOT_ALLOWED: _w(403, "Port not allowed", "端口未获授权", "The service is whitelisted, but not on this port.", "该服务已获授权，但不包括此端口。", _A, _DENIED),
    R.PROTOCOL_NOT_ALLOWED: _w(403, "Protocol not allowed", "协议未获授权", "The service is whitelisted, but not over this protocol.", "该服务已获授权，但不包括此协议。", _A, _DENIED),
    R.METHOD_NOT_ALLOWED: _w(403, "Method not allowed", "方法未获授权", "The grant does not cover this method.", "授权不包括此请求方法。", _A, _DENIED),
    R.PATH_NOT_ALLOWED: _w(403, "Path not allowed", "路径未获授权", "The grant does not cover this path.", "授权不包括此路径。", _A, _DENIED),
    R.CONTENT_NOT_ALLOWED: _w(403, "Content not allowed", "内容未获授权", "The grant does not cover this kind or size of content.", "授权不包括此类内容或大小。", _A, _DENIED),
    R.ADDRESS_FORBIDDEN: _w(403, "Address forbidden", "地址被禁止", "The name leads to an address that may not be reached.", "该名称指向禁止访问的地址。", _A, "destination_ip_prohibited"),
    R.NAME_MISMATCH: _w(403, "Name mismatch", "名称不一致", "The TLS name is not the host that was permitted.", "TLS 名称与获准访问的主机不一致。", _F, _DENIED),
    R.NAME_INVALID: _w(403, "Name invalid", "名称无效", "The host name or address is not written in its one valid form.", "主机名或地址的写法无效。", _F, _DENIED),
    R.ECH_NOT_ALLOWED: _w(403, "ECH not allowed", "不允许加密客户端问候", "The grant does not allow Encrypted Client Hello.", "授权不允许使用加密客户端问候（ECH）。", _F, _DENIED),
    R.DIRECTION_NOT_ALLOWED: _w(403, "Direction not allowed", "方向不被允许", "Only traffic from the offshore zone to abroad can be granted.", "仅可授权由离岸区通往境外的访问。", _A, _DENIED),
    R.SOURCE_NOT_ALLOWED: _w(403, "Source not allowed", "来源地址不符", "This credential may not be used from this address or access interface.", "该凭证不得在此地址或接入接口使用。", _A, _DENIED),
    R.TENANT_SUSPENDED: _w(403, "Tenant suspended", "租户已暂停", "Your firm's access is suspended.", "贵公司的访问已被暂停。", _A, _DENIED),
    R.TENANT_EXPIRED: _w(403, "Tenant expired", "租户已到期", "Your firm's approval is not in force at this time.", "贵公司的准入许可当前不在有效期内。", _A, _DENIED),
    R.GRANT_EXPIRED: _w(403, "Grant expired", "授权已到期", "The grant for this service has expired.", "该服务的授权已到期。", _A, _DENIED),
    R.OUTSIDE_WINDOW: _w(403, "Outside window", "不在授权时段", "The grant for this service is not in force at this time.", "该服务的授权当前不在有效时段。", _A, _DENIED),
    R.DATA_GRADE_FORBIDDEN: _w(403, "Data grade forbidden", "数据级别禁止出境", "Data of this grade may not leave.", "该级别的数据禁止出境。", _A, _DENIED),
    R.CONSENT_MISSING: _w(403, "Consent missing", "缺少书面同意", "The grant asks for inspection and no valid consent is on file.", "该授权需要内容检查，但缺少有效的书面同意。", _A, _DENIED),
    R.KILL_SWITCH: _w(403, "Kill switch", "紧急切断", "Access is cut by the kill switch.", "访问已被紧急切断。", _A, _DENIED),
    R.IDENTITY_UNKNOWN: _w(407, "Identity unknown", "身份未知", "The gateway does not know this credential.", "网关无法识别该凭证。", ("Set the proxy user name to the credential id and the password to its token.", "请将代理用户名设为凭证编号，密码设为令牌。"), _DENIED),
    R.IDENTITY_REVOKED: _w(407, "Identity revoked", "凭证已失效", "This credential was revoked or has expired.", "该凭证已吊销或到期。", ("Ask your zone operator for a new credential.", "请向园区运营方申请新的凭证。"), _DENIED),
    R.HANDSHAKE_TIMEOUT: _w(408, "Handshake timeout", "握手超时", "The request did not arrive in time.", "请求未在规定时间内到达。", _F, "http_request_error"),
    R.RATE_LIMITED: _w(429, "Rate limited", "超出并发或速率上限", "Your firm has reached its limit of tunnels or new tunnels.", "贵公司已达到连接数或新建速率上限。", _L, _DENIED),
    R.QUOTA_EXHAUSTED: _w(429, "Quota exhausted", "配额已用完", "Your firm's volume for this period is used up.", "贵公司本期的流量配额已用完。", (_QUOTA, _QUOTA_ZH), _DENIED),
    R.MALFORMED_REQUEST: _w(400, "Malformed request", "请求格式错误", "The request is not valid, or can be read in two ways.", "请求不符合规范，或存在歧义。", _F, "http_request_error"),
    R.REGULATOR_RULE: _w(451, "Regulator rule", "监管规则拦截", "Access is blocked by a regulator's rule.", "访问被监管规则拦截。", _A, _DENIED),
    R.INTERNAL_ERROR: _w(500, "Internal error", "内部错误", "The gateway failed while deciding, so nothing was let through.", "网关判定时发生错误，已拒绝放行。", _L, "proxy_internal_error"),
    R.RESOLVE_FAILED: _w(502, "Resolve failed", "域名解析失败", "The name could not be resolved over the line.", "无法通过专线解析该域名。", _L, "dns_error"),
    R.DIAL_FAILED: _w(502, "Dial failed", "连接失败", "The service did not accept the connection over the line.", "通过专线连接该服务失败。", _L, "destination_unavailable"),
    R.UPSTREAM_TLS_FAILED: _w(502, "Upstream TLS failed", "上游 TLS 失败", "The service's certificate could not be verified.", "无法验证该服务的证书。", _L, "tls_certificate_error"),
    R.LINE_UNAVAILABLE: _w(503, "Line unavailable", "专线不可用", "None of the lines designated for this grant is available.", "该授权指定的专线均不可用。", (_LINE, _LINE_ZH), "destination_ip_unroutable"),
    R.POLICY_UNAVAILABLE: _w(503, "Policy unavailable", "策略不可用", "The gateway has no valid policy, so nothing is let through.", "网关没有有效策略，已拒绝放行。", _L, "proxy_configuration_error"),
    R.EVIDENCE_UNAVAILABLE: _w(503, "Evidence unavailable", "存证不可用", "The decision could not be recorded, so nothing is let through.", "判定无法存证，已拒绝放行。", _L, "proxy_internal_error"),
    R.INSPECTION_UNAVAILABLE: _w(503, "Inspection unavailable", "检查服务不可用", "The grant asks for inspection, which is not available.", "该授权需要内容检查，但检查服务不可用。", _L, "proxy_internal_error"),
    R.OVERLOADED: _w(503, "Overloaded", "网关过载", "The gateway has no room for another flow.", "网关暂无余量接受新的连接。", _L, "connection_limit_reached"),
}  # fmt: skip


def status_of(reason: Reason) -> int:
    """The status a refusal with this reason has on the wire, where nothing more special applies (431, 421)."""
    return WORDING[reason].status
