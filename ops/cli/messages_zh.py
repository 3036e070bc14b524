"""Chinese for messages."""

from ops.cli.labels_zh import LABELS_ZH

MESSAGES_ZH: dict[str, str] = {
    **LABELS_ZH,
    # errors and what to do about them
    "error": "错误",
    "what to do": "处理办法",
    "See {path} --help.": "参见 {path} --help。",
    "missing: {name}": "缺少：{name}",
    "there is no option {name}": "没有选项 {name}",
    "there is no command {name}": "没有命令 {name}",
    "a command is missing": "缺少命令",
    "Did you mean {names}?": "您是否要找 {names}？",
    " or ": " 或 ",
    "{count} records behind, the oldest {age}": "落后 {count} 条，最早 {age}",
    "up to date": "已跟上",
    ", {count} dead letters": "，{count} 条无法投递",
    "{missing} records before the next are not in the log any more": "此前有 {missing} 条记录已不在日志中",
    "internal error: {kind}: {text}": "内部错误：{kind}: {text}",
    "This is a fault of feiyu itself; FEIYU_DEBUG=1 shows where.": (
        "这是 feiyu 自身的故障；设 FEIYU_DEBUG=1 可查看位置。"
    ),
    "every change needs a reason": "任何变更都须说明理由",
    'Add --reason "…"; it is kept with the change, for those who review it.': (
        '请加上 --reason "…"；理由随变更留存，供复核人员查看。'
    ),
    "Reason (stands in the record)": "理由（将留存）",
    "Is the gateway running? Start it with feiyu up, or name its socket with --server PATH.": (
        "网关是否在运行？请以 feiyu up 启动，或以 --server PATH 指定套接字。"
    ),
    "there is no control socket at {path}": "{path} 处没有控制套接字",
    "this account may not open {path}": "当前账户无权打开 {path}",
    "Use an account that the node admits, or root.": "请使用节点允许的账户，或 root。",
    "nobody listens at {path}": "{path} 处无进程监听",
    "control answered {status}": "控制进程答复 {status}",
    "control does not answer at {path}": "{path} 处的控制进程没有答复",
    "the connection to {path} failed: {why}": "与 {path} 的连接失败：{why}",
    "{path} does not answer in JSON": "{path} 的答复不是 JSON",
    "the configuration cannot be used": "配置无法使用",
    "Nothing was changed. Correct the file, then run feiyu check.": (
        "未作任何更改。请改正该文件，然后运行 feiyu check。"
    ),
    "Make one with feiyu init, or name yours with --config FILE.": "请以 feiyu init 生成，或以 --config FILE 指定。",
    "{path} cannot be made: {why}": "无法创建 {path}：{why}",
    "Run as root, or name other directories in the configuration.": "请以 root 运行，或在配置中改用其他目录。",
    "{module} is not installed": "未安装 {module}",
    "Install feiyu anew: make setup.": "请重新安装：make setup。",
    # values
    "{first} and {second} say the same thing: give one of them": "{first} 与 {second} 含义相同：请只给其一",
    "say how long: {first} 2027-11-23 or {second} 12mo": "请说明期限：{first} 2027-11-23 或 {second} 12mo",
    "nothing to change was given": "没有给出要修改的内容",
    "See --help for what can be changed.": "可修改的内容参见 --help。",
    "{text!r} has bits set behind the prefix; expected {loose} (the network) or {host} (one address)": (
        "{text!r} 的主机位不为零；应为 {loose}（网段）或 {host}（单个地址）"
    ),
    "{text!r} is not a place; expected SITE/ROOM/INTERFACE/PREFIX, as in lingang-a/r1/acc0/10.1.0.0/24": (
        "{text!r} 不是位置；应为 站点/机房/接口/地址段，例如 lingang-a/r1/acc0/10.1.0.0/24"
    ),
    "{text!r} is not a host; expected api.example.com, *.example.com or a prefix like 203.0.113.0/28": (
        "{text!r} 不是主机；应为 api.example.com、*.example.com 或地址段如 203.0.113.0/28"
    ),
    "{text!r} is not an endpoint; expected tls://, http:// or tcp:// before the host, as in {hint}": (
        "{text!r} 不是端点；主机前应有 tls://、http:// 或 tcp://，例如 {hint}"
    ),
    "{text!r} has no port; tcp endpoints name theirs, as in tcp://{rest}:22": (
        "{text!r} 没有端口；tcp 端点须写明端口，例如 tcp://{rest}:22"
    ),
    "{option!r} is not an option of a place; expected side=offshore, side=domestic or side=abroad": (
        "{option!r} 不是位置的选项；应为 side=offshore、side=domestic 或 side=abroad"
    ),
    "{text!r} is not an IP prefix; expected for example 10.1.0.0/24 or 2001:db8::/48": (
        "{text!r} 不是地址段；例如 10.1.0.0/24 或 2001:db8::/48"
    ),
    "{text!r} is not an IP address; expected for example 192.0.2.1 or 2001:db8::1": (
        "{text!r} 不是 IP 地址；例如 192.0.2.1 或 2001:db8::1"
    ),
    "{part!r} is not a port; expected numbers from 1 to 65535, divided by commas": (
        "{part!r} 不是端口；应为 1 至 65535 的数字，以逗号分隔"
    ),
    "{text!r}: write an IPv6 address or prefix in brackets, as in {scheme}://[2001:db8::/48]:443": (
        "{text!r}：IPv6 地址或地址段须加方括号，例如 {scheme}://[2001:db8::/48]:443"
    ),
    "{text!r} names no host; an endpoint has no path, expected for example {scheme}://api.example.com:443": (
        "{text!r} 没有主机；端点不含路径，例如 {scheme}://api.example.com:443"
    ),
    "{text!r} is not a moment; expected 2027-11-23, 2027-11-23T18:00, a duration like 12mo, or now": (
        "{text!r} 不是时刻；应为 2027-11-23、2027-11-23T18:00、时长如 12mo 或 now"
    ),
    "{text!r} is not a duration; expected for example 90d, 12mo, 1y, 8h or 1h30m": (
        "{text!r} 不是时长；例如 90d、12mo、1y、8h 或 1h30m"
    ),
    "{text!r} is no time at all; expected a duration longer than zero": "{text!r} 的时长为零",
    "{text!r} is longer than a hundred years": "{text!r} 超过一百年",
    "{text!r} is not a span of hours; expected for example 08:00-20:00": "{text!r} 不是时段；例如 08:00-20:00",
    "{text!r} ends before it starts; hours over midnight are two grants, up to 24:00 and from 00:00": (
        "{text!r} 的结束早于开始；跨午夜的时段须分为两项授权：至 24:00 与自 00:00"
    ),
    "{part!r} is not a weekday; expected mon, tue, wed, thu, fri, sat, sun or a range like mon-fri": (
        "{part!r} 不是星期；应为 mon、tue、wed、thu、fri、sat、sun 或范围如 mon-fri"
    ),
    "the duration leads out of the calendar": "该时长超出日历范围",
    "{text!r} is not a whole number of kbit/s": "{text!r} 不是整数 kbit/s",
    "{text!r} is not a whole number of bytes": "{text!r} 不是整数字节",
    "empty": "为空",
    "--port and --protocol belong to --host, which is missing": "--port 与 --protocol 须与 --host 同用",
    "a tcp endpoint names its port: add --port": "tcp 端点须写明端口：请加 --port",
    "a service needs an endpoint": "服务须有端点",
    "Add --endpoint tls://host:443, or --host.": "请加 --endpoint tls://host:443 或 --host。",
    "a grant is for one tenant or one group: give --tenant or --group": (
        "授权只针对一个租户或一个租户组：请给 --tenant 或 --group"
    ),
    "a grant reaches one service or one category: give --service or --category": (
        "授权只针对一个服务或一个类别：请给 --service 或 --category"
    ),
    "--{name} was given twice for the same family": "同一地址族的 --{name} 给了两次",
    "--ref stands for tenant and host: give one or the other": "--ref 已代表租户与主机：请二者择一",
    "say whom and what: feiyu explain TENANT HOST[:PORT], or --ref REF": (
        "请说明对象：feiyu explain 租户 主机[:端口]，或 --ref 编号"
    ),
    # results
    "not enforced yet: {why}": "尚未生效：{why}",
    "nothing had to be changed": "无需更改",
    "no workers run": "没有运行中的工作进程",
    "enforced in {count} workers in {ms} ms": "已在 {count} 个工作进程生效，用时 {ms} 毫秒",
    "enforced in 1 worker in {ms} ms": "已在 1 个工作进程生效，用时 {ms} 毫秒",
    "revision {number}": "版本 {number}",
    "marked {origin}": "标记 {origin}",
    "{names} did not answer within a second and was restarted": "{names} 一秒内未确认，已重启",
    "warning: {text}": "警告：{text}",
    "Nothing found.": "没有结果。",
    "There are no tenants yet.": "尚无租户。",
    "There are no services yet.": "尚无服务。",
    "There are no lines yet.": "尚无专线。",
    "There are no credentials.": "没有凭证。",
    "There are no grants.": "没有授权。",
    "There are no global denies.": "没有全局禁止。",
    "No flow is open.": "没有打开的连接。",
    "No record matches.": "没有符合的记录。",
    "There may be more: raise --limit, or narrow the search.": "可能还有更多：请提高 --limit 或缩小范围。",
    "The token is not kept and cannot be shown again. Put it in a file that only its user can read:": (
        "令牌不留存，无法再次显示。请存入仅使用者可读的文件："
    ),
    # the node
    "made {path}": "已创建 {path}",
    "made {path}: an example, to be adapted": "已创建示例 {path}，请按需修改",
    "this node was set up before: {paths}": "本节点已初始化：{paths}",
    "Nothing was changed. With --complete only what is missing is made.": (
        "未作任何更改。加 --complete 只补齐缺少的部分。"
    ),
    "Next: feiyu check, then feiyu up.": "下一步：feiyu check，然后 feiyu up。",
    "note: no management interface is configured, so this machine's own traffic, SSH too, will be dropped": (
        "注意：未配置管理接口，本机自身的流量（包括 SSH）将被阻断"
    ),
    "{count} problems": "{count} 个问题",
    "no problem": "没有问题",
    "To keep it: {command}": "保存方法：{command}",
    "{text!r} is not a rate; expected 500kbit, 10mbit or 1gbit": "{text!r} 不是速率；应如 500kbit、10mbit、1gbit",
    "{text!r} is not an amount of bytes; expected 500MB, 10GB or 2TB": "{text!r} 不是流量；应如 500MB、10GB、2TB",
    "{text!r} is no field of the customer file; expected FIELD=TEXT": "{text!r} 不是用户档案字段；应为 字段=内容",
    "{text!r} is no attachment; expected KIND=FILE": "{text!r} 不是附件；应为 种类=文件",
    "{path} cannot be read: {why}": "无法读取 {path}：{why}",
    "tenant {tenant} has no share of line {line}": "租户 {tenant} 在专线 {line} 上没有份额",
    "the contract has ended: the line carries nothing; feiyu line edit {line} --until": (
        "合同已到期，专线不再承载流量；请 feiyu line edit {line} --until"
    ),
    "the contract ends in {days} days": "合同将于 {days} 天后到期",
    "a probe was not answered": "有探测未获应答",
    "The line has no probes: feiyu line edit {line} --probe": "该专线没有探测目标：feiyu line edit {line} --probe",
}
