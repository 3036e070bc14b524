"""Chinese for feiyu ca and for certificates as credentials."""

CA_ZH: dict[str, str] = {
    "The zone's certificate authority.": "园区证书颁发机构（CA）。",
    "Make the zone's CA: a root to take away, an issuing CA, a certificate for the listeners.": (
        "建立园区 CA：可离线保管的根、签发 CA、监听端口证书。"
    ),
    "Where the root's key is; not on the node.": "根密钥所在目录；不得在节点上。",
    "The zone's domain (default: that of the node's name).": "园区域名（默认取自节点名称）。",
    "What clients know the gateway by; may be repeated.": "客户端所用的网关名称或地址；可重复。",
    "Make a new issuing CA with --root; without it, a new certificate for the listeners.": (
        "给出 --root 则更换签发 CA；否则仅更换监听端口证书。"
    ),
    "Take no certificate any more that the old issuing CA signed.": "不再接受旧签发 CA 签发的任何证书。",
    "Print the revocation lists in PEM, for those who cannot ask the register.": (
        "以 PEM 输出吊销列表，供无法查询登记库者使用。"
    ),
    "Take {root} off this node now, and keep it where two people are needed to get it.": (
        "请立即将 {root} 移出本节点，存放于须两人方可取用之处。"
    ),
    "{path} cannot be used: {why}": "无法使用 {path}：{why}",
    "Run as root on the node; --root is the directory that feiyu ca init made.": (
        "请在节点上以 root 运行；--root 为 feiyu ca init 所建目录。"
    ),
    "Root": "根",
    "certificate": "证书",
    "token": "令牌",
    "KIND": "类型",
    "CERTIFICATE": "证书",
    "Root's SHA-256": "根证书 SHA-256",
    "Directory": "目录",
    "Issuing CA's SHA-256": "签发 CA SHA-256",
    "Listeners' SHA-256": "监听端口证书 SHA-256",
    "Listeners' until": "监听端口证书有效期至",
    "Issue a certificate for the request in --csr instead of a token.": "按 --csr 中的请求签发证书，而非令牌。",
    "Certificate request or public key in PEM; - for stdin.": "PEM 格式的证书请求或公钥；- 表示标准输入。",
    "Where the certificate goes (default: stdout).": "证书写入的文件（默认标准输出）。",
    "--certificate needs --csr, and --csr and --out need --certificate": (
        "--certificate 须与 --csr 同用；--csr 和 --out 须与 --certificate 同用"
    ),
    "The key is made where it is used and never leaves that place: openssl req -new makes a request.": (
        "密钥在使用处生成，不离开该处：可用 openssl req -new 生成请求。"
    ),
}
