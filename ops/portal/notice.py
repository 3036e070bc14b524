"""What a firm is told about the records: which fields there are, what is never in them, how long they are kept.

The fields are those of telemetry.record, all of them: a test holds this list against it, so that no field can come
into the records without being told here.
"""

from typing import Final

from telemetry.retention import FLOOR  # at least six months: Cybersecurity Law, art. 21(3), since 2026 art. 23(3)

# field: (Chinese, English)
FIELDS: Final[dict[str, tuple[str, str]]] = {
    "node": ("网关节点", "gateway node"),
    "boot": ("节点本次启动", "its current boot"),
    "worker": ("写入记录的进程", "process that wrote the record"),
    "seq": ("连续序号", "gap-free number"),
    "kind": ("记录类别", "kind of record"),
    "time": ("时间", "time"),
    "flow": ("连接编号", "id of the connection"),
    "tenant": ("企业", "firm"),
    "site": ("园区", "site"),
    "room": ("机房", "room"),
    "interface": ("接入接口", "access interface"),
    "user": ("使用者标签的假名", "pseudonym of the user's label"),
    "credential": ("凭证编号", "id of the credential"),
    "client_ip": ("来源地址", "source address"),
    "client_port": ("来源端口", "source port"),
    "original_dst": ("原目的地址", "original destination"),
    "listener": ("接入方式", "way in"),
    "method": ("请求方法", "method"),
    "host": ("目标主机", "target host"),
    "port": ("目标端口", "target port"),
    "path": ("路径（仅明文 HTTP 或受检查时，不含查询参数）", "path (plain HTTP or inspected only, without the query)"),
    "user_agent": ("客户端软件名称（至多 256 字节）", "name of the client software (at most 256 bytes)"),
    "status": ("状态码", "status"),
    "sni": ("TLS 服务器名称", "server name in TLS"),
    "alpn": ("TLS 应用协议", "application protocol in TLS"),
    "ja4": ("TLS 客户端指纹", "fingerprint of the TLS client"),
    "ech": ("是否使用加密客户端问候", "whether the hello is encrypted"),
    "tls_version": ("TLS 版本", "TLS version"),
    "address": ("所连地址", "address dialled"),
    "line": ("专线", "line"),
    "egress_ip": ("出口地址", "egress address"),
    "egress_port": ("出口端口", "egress port"),
    "service": ("服务", "service"),
    "grant": ("授权", "grant"),
    "revision": ("策略版本", "policy revision"),
    "decision": ("判定", "decision"),
    "reason": ("理由", "reason"),
    "rule": ("依据的规则", "rule applied"),
    "ref": ("拒绝编号", "reference of a refusal"),
    "tunnel": ("所在隧道的编号（仅受检查时）", "reference of the tunnel it came in (inspected only)"),
    "content_type": ("内容类型（仅受检查时）", "content type (inspected only)"),
    "count": ("合并的次数", "how many were counted into one"),
    "bytes_out": ("发出字节数", "bytes sent"),
    "bytes_in": ("收到字节数", "bytes received"),
    "bytes_as_of": ("字节数统计时刻", "when bytes were counted"),
    "duration": ("持续时间", "duration"),
    "rtt": ("往返时延", "round-trip time"),
    "retransmits": ("重传次数", "retransmissions"),
    "cause": ("结束原因", "why it ended"),
    "detail": ("网关自身的说明", "the gateway's own words"),
    "sealed": ("个人字段的密文（启用封存时）", "personal fields encrypted, where they are sealed"),
    "values": ("网关自身的计数", "the gateway's own gauges"),
    "facts": ("监管调阅、抽查与管理操作的要素", "what an authority's read, a spot check or an act consisted of"),
}

TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "zh": (
        "每次访问与每次拒绝均留有记录，包括对本页面的请求。只记录元数据，字段如下，别无其他。",
        "不记录：内容、查询参数、Cookie、除客户端软件名称以外的请求头。使用者以假名出现。",
        f"记录保存 {{days}} 天后删除（《网络安全法》：不少于六个月，即 {FLOOR} 天），依法保全的除外；删除亦留有记录。",
    ),
    "en": (
        "Every access and refusal is recorded, requests for this page too. Metadata only: these fields, no others.",
        "Never recorded: contents, queries, cookies, headers but the client software's name. Users are pseudonymous.",
        f"Records are deleted after {{days}} days (the law: at least {FLOOR}) unless held; that is a record, too.",
    ),
}
SEALED: Final[dict[str, str]] = {
    "zh": "来源地址、使用者、端口、客户端软件名称与路径加密封存，{days} 天后销毁密钥，此后无人可读。",
    "en": "Source address, user, port, client software and path are kept encrypted; after {days} days their key is "
    "destroyed, and nobody can read them.",
}


def notice(days: int, personal_days: int = 0) -> dict[str, object]:
    """The notice as JSON. days: how long records are kept; personal_days: how long their personal fields can be read, 0
    where they are not sealed."""
    fields = [{"field": name, "zh": zh, "en": en} for name, (zh, en) in FIELDS.items()]
    text = {language: [line.format(days=days) for line in lines] for language, lines in TEXTS.items()}
    if personal_days:
        for language, line in SEALED.items():
            text[language].append(line.format(days=personal_days))
    return {"fields": fields, "retention_days": days, "text": text}
