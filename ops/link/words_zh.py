"""Chinese for the sentences of the link."""

ZH: dict[str, str] = {
    "A firewall, a cable or the gateway itself: check the first two, then tell the operator.": (
        "可能是防火墙、线缆或网关本身：请先检查前两项，再告知运营方。"
    ),
    "As JSON.": "以 JSON 输出。",
    "Ask the operator for a new invite, and enrol again.": "请向运营方索取新的邀请，重新登记。",
    "Ask the operator for the gateway's address, or check DNS.": "请向运营方核对网关地址，或检查 DNS。",
    "Check this machine's clock and the gateway's name; nothing was sent.": (
        "请检查本机时钟与网关名称；未发送任何内容。"
    ),
    "Compare gateway and fingerprint with what the operator sent. If they are right, somebody is in between.": (
        "请将网关与指纹同运营方发来的核对；若均无误，则有人居中冒充。"
    ),
    "Compare this machine's clock with another.": "请将本机时钟与其他时钟核对。",
    "Copy it as the operator sent it.": "请照运营方发来的原样复制。",
    "Copy it as the operator sent it: c-….…": "请照运营方发来的原样复制：c-….…",
    "Credential": "凭证",
    "Demand a password of this machine's programs.": "要求本机程序提供密码。",
    "Enrol a machine anew that is enrolled.": "重新登记已登记的机器。",
    "Enrol this machine again.": "请重新登记本机。",
    "Enrol this machine with an invite's token.": "用邀请令牌登记本机。",
    "Enrolled: {credential} of {tenant}.": "已登记：{tenant} 的 {credential}。",
    "Fingerprint of the zone's root CA.": "园区根 CA 的指纹。",
    "Firm": "企业",
    "Forwarder of a firm's machine to the gateway.": "企业机器到网关的转发程序。",
    "Gateways": "网关",
    "Good until": "有效期至",
    'Is a link running already? Else change "listen" in link.json.': (
        "是否已有转发程序在运行？否则请修改 link.json 中的 listen。"
    ),
    "Its user is {user}; its password is in {path}.": "用户名为 {user}；密码在 {path} 中。",
    "Keep feiyu link run running.": "请保持 feiyu link run 运行。",
    "Language of words.": "显示语言。",
    "Let other machines in as this one.": "允许其他机器以本机身份使用。",
    "Listen on 127.0.0.1, or add --listen-anywhere if that is meant.": (
        "请监听 127.0.0.1；若确有此意，加上 --listen-anywhere。"
    ),
    "Look at everything between this machine and the gateways.": "逐项检查本机到网关之间的一切。",
    "Make room, or choose another directory with --dir.": "请腾出空间，或用 --dir 另选目录。",
    "May be repeated.": "可重复。",
    "Name of the firm's own page.": "企业自有页面的名称。",
    "No gateway of your zone is reached from this machine; feiyu link doctor says why.": (
        "本机无法连接园区的任何网关；feiyu link doctor 可查明原因。"
    ),
    "Nothing was refused in the last 30 days.": "最近 30 天没有被拒绝的访问。",
    "Now start feiyu link run, and set http://{address} as the proxy.": (
        "现在请启动 feiyu link run，并将代理设为 http://{address}。"
    ),
    "Of this machine alone.": "仅限本机。",
    "Proxy": "代理",
    "Reference": "编号",
    "To be renewed at": "续期时间",
    "Run the enrol command that the zone's operator sent.": "请运行园区运营方发来的登记命令。",
    "Running": "正在运行",
    "Serve as a proxy on this machine, until stopped.": "在本机充当代理，直至停止。",
    "Set this machine's clock by the network (NTP).": "请用网络时间（NTP）校准本机时钟。",
    "Show the firm's last refusals in plain words.": "以平实的文字显示本企业最近被拒绝的访问。",
    "Show who this machine is, and until when.": "显示本机的身份及有效期。",
    "Speak to the zone's operator.": "请与园区运营方联系。",
    "Start feiyu link run.": "请启动 feiyu link run。",
    "The gateway cannot look its refusals up now; try again in a minute.": "网关暂时无法查询拒绝记录；请一分钟后重试。",
    "The gateway does not take this machine's certificate ({why}); feiyu link doctor says what to do.": (
        "网关不接受本机证书（{why}）；feiyu link doctor 会说明如何处理。"
    ),
    "This machine's clock is behind: set it.": "本机时钟偏慢，请校准。",
    "This machine's link demands its local token as the proxy's password.": "本机转发程序要求以本地令牌作为代理密码。",
    "Token: ": "令牌：",
    "Where key, certificate and settings are kept.": "密钥、证书和设置所在目录。",
    "Where programs find the link.": "程序连接本转发程序的地址。",
    "Where the token is; - for stdin (default: asked for).": "令牌所在文件；- 表示标准输入（默认询问）。",
    "as the gateway's": "与网关一致",
    "certificate": "证书",
    "certificate renewed: {credential}": "证书已续期：{credential}",
    "clock": "时钟",
    "connected": "已连接",
    "expired at {until}": "已于 {until} 到期",
    "feiyu link doctor says where it stops.": "feiyu link doctor 可查明止于何处。",
    "feiyu link status shows as what; --again enrols it anew.": "feiyu link status 显示其身份；--again 重新登记。",
    "firm": "企业",
    "good until {until}, and should have been renewed": "有效期至 {until}，本应已续期",
    "link": "转发程序",
    "listens on {address}": "正在监听 {address}",
    "no": "否",
    "no gateway can be asked for the time": "没有网关可供核对时间",
    "not valid yet": "尚未生效",
    "nothing listens on {address}": "{address} 上无监听",
    "the CA's fingerprint is not 64 hexadecimal digits": "CA 指纹不是 64 位十六进制数字",
    "the certificate is not renewed yet: {why}": "证书尚未续期：{why}",
    "the gateway does not take this machine's certificate: {why}": "网关不接受本机证书：{why}",
    "the pinned CA and the right name": "CA 指纹与名称均相符",
    "this is no token of an invite": "这不是邀请令牌",
    "this machine is enrolled already: {path}": "本机已登记：{path}",
    "this machine is let in": "本机获准接入",
    "this machine is not enrolled: there is no {path}": "本机尚未登记：没有 {path}",
    "yes": "是",
    "{address} can be reached from other machines, which would be let through as this one": (
        "其他机器可以连接 {address}，并将以本机身份通过"
    ),
    "{address} cannot be listened on: {why}": "无法监听 {address}：{why}",
    "{credential}, good until {until}": "{credential}，有效期至 {until}",
    "{gateway} answered with what is no certificate for this machine's key": "{gateway} 返回的不是本机密钥的证书",
    "{gateway} does not show the zone's CA with the fingerprint given; nothing was sent": (
        "{gateway} 未出示与所给指纹相符的园区 CA；未发送任何内容"
    ),
    "{gateway} does not take this machine's certificate: {why}": "{gateway} 不接受本机证书：{why}",
    "{gateway} is no HOST:PORT": "{gateway} 不是“主机:端口”",
    "{gateway} is not a gateway of your zone: {why}": "{gateway} 不是本园区的网关：{why}",
    "{gateway} is not reached: {why}": "无法连接 {gateway}：{why}",
    "{gateway} is reached again": "{gateway} 已恢复",
    "{path} cannot be read: {why}": "无法读取 {path}：{why}",
    "{path} cannot be used: {why}": "无法使用 {path}：{why}",
    "{path} cannot be written: {why}": "无法写入 {path}：{why}",
    "{path} holds no key with its certificate": "{path} 中没有密钥及其证书",
    "{seconds} s off the gateway's": "与网关相差 {seconds} 秒",
}
