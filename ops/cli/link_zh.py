"""Chinese for feiyu link and for invites."""

LINK_ZH: dict[str, str] = {
    "Forwarder of a firm's machine: certificate, local proxy, refusals.": (
        "企业机器的转发程序：证书、本机代理、被拒访问。"
    ),
    "Where the link keeps key, certificate and settings.": "转发程序的密钥、证书和设置所在目录。",
    "As JSON.": "以 JSON 输出。",
    "Enrol this machine with an invite's token, which is asked for.": "用邀请令牌登记本机；令牌由程序询问。",
    "May be repeated.": "可重复。",
    "Fingerprint of the zone's root CA.": "园区根 CA 的指纹。",
    "Where the token is; - for stdin.": "令牌所在文件；- 表示标准输入。",
    "Name of the firm's own page.": "企业自有页面的名称。",
    "Where programs find the link.": "程序连接转发程序的地址。",
    "Let other machines in as this one.": "允许其他机器以本机身份使用。",
    "Demand a password of this machine's programs.": "要求本机程序提供密码。",
    "Enrol a machine anew that is enrolled.": "重新登记已登记的机器。",
    "Serve as a proxy on this machine, until stopped.": "在本机充当代理，直至停止。",
    "Show who this machine is, and until when.": "显示本机的身份及有效期。",
    "Show the firm's last refusals in plain words.": "以平实的文字显示本企业最近被拒绝的访问。",
    "Of this machine alone.": "仅限本机。",
    "Look at everything between this machine and the gateways.": "逐项检查本机到网关之间的一切。",
    "Write the link as one file for firms' machines, which need Python 3.11 and cryptography.": (
        "将转发程序写成单个文件，供企业机器使用（需 Python 3.11 和 cryptography）。"
    ),
    "Where it goes.": "写入的文件。",
    "Invite one machine of a tenant to enrol with feiyu link; its token is shown once.": (
        "邀请租户的一台机器用 feiyu link 登记；令牌只显示一次。"
    ),
    "How long the token is good (default: 24h).": "令牌有效时长（默认 24h）。",
    "Revoke a credential, and what was enrolled or renewed with it; live tunnels are cut.": (
        "吊销凭证及由其登记或续期者；切断其现有连接。"
    ),
    "used": "已使用",
    "invite": "邀请",
    "Invite": "邀请",
    "Command": "命令",
    "COMMAND": "命令",
    "ROOT SHA256": "根证书 SHA-256",
    "The token is good once, is not kept and cannot be shown again. Send it by another way than the command.": (
        "令牌只能用一次，不留存，也无法再次显示。请将它与命令分途发送。"
    ),
    "feiyu link bundle writes {name}; the firm's machine needs Python 3.11 and cryptography.": (
        "feiyu link bundle 生成 {name}；企业机器需 Python 3.11 和 cryptography。"
    ),
    "No listener takes this firm's certificates: add one with tls and client_ca, and fill in GATEWAY:PORT.": (
        "没有接受该企业证书的监听端口：请增设带 tls 和 client_ca 的端口，并填写 GATEWAY:PORT。"
    ),
}
