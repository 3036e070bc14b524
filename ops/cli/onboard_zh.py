"""Chinese for feiyu pac and feiyu tenant onboard."""

ONBOARD_ZH: dict[str, str] = {
    "PAC files: which of a firm's requests its browsers send here.": "PAC 文件：企业浏览器的哪些请求经由本网关。",
    "Print the PAC file of a tenant, as the gateway serves it.": "输出租户的 PAC 文件，与网关提供的相同。",
    "What goes through the gateway: the whitelist's hosts, or all (default: from the configuration).": (
        "经由网关的主机：白名单内的，或全部（默认取自配置）。"
    ),
    "Where other hosts go: straight out, or to the gateway, which refuses (default: from the configuration).": (
        "其他主机：直接访问，或交由网关拒绝（默认取自配置）。"
    ),
    "Print all that a tenant needs: addresses, PAC, settings of its programs.": (
        "输出租户所需的全部内容：地址、PAC、各程序设置。"
    ),
    "As Markdown.": "以 Markdown 输出。",
    "Issue a credential for this user, and fill its token in.": "为该使用者签发凭证，并填入令牌。",
    "--until and --for are for the credential of --issue": "--until 与 --for 用于 --issue 签发的凭证",
    "no listener of this node is for {name}": "本节点没有供 {name} 使用的接入",
    "Add a plain listener on its access network to the configuration, or name gateways there (pac).": (
        "请在配置中为其接入网络增加 plain 监听，或在 pac 中指定网关。"
    ),
    "(no credential: the place says who asks)": "（无需凭证：以位置识别）",
    "(for machines with a certificate: feiyu credential invite, feiyu link)": (
        "（供持有证书的机器使用：feiyu credential invite、feiyu link）"
    ),
    "(through the proxy)": "（经代理访问）",
    "PAC file": "PAC 文件",
    "The firm's own page": "本单位页面",
    " (mode 0600)": "（权限 0600）",
    "CREDENTIAL (user name) and TOKEN (its password) are issued to a user; hand them over in person or sealed.": (
        "CREDENTIAL（凭证编号，即用户名）与 TOKEN（令牌，即密码）签发给使用者，请当面或密封交付。"
    ),
    "Keep it in files that only their owner can read (chmod 600), not in commands or in source code.": (
        "请存放于仅所有者可读的文件（chmod 600），不要写在命令行或源代码中。"
    ),
    "What is not whitelisted is refused with a reason and a reference; the firm's own page explains both.": (
        "白名单之外的访问将被拒绝，并给出理由和编号；本单位页面对两者均有说明。"
    ),
}
