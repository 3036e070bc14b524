"""Chinese for feiyu doctor egress."""

EGRESS_ZH: dict[str, str] = {
    "Examine the running node: processes, lines, spools, clock; or try whether a packet leaves beside its line.":
        "诊断运行中的节点：进程、专线、缓存、时钟；或实测是否有数据包能绕开专线外出。",
    "With egress: only this line's ways; may be repeated.": "与 egress 同用：只试这条专线的途径；可多次给出。",
    "--line is for feiyu doctor egress": "--line 只用于 feiyu doctor egress",
    "With egress: what the packets are to reach (default: addresses for documentation; port: 443).":
        "与 egress 同用：数据包要到达的目标（默认为文档专用地址；端口默认 443）。",
    "--target is for feiyu doctor egress": "--target 只用于 feiyu doctor egress",
    "note: {target} has no IPv{version} address; those ways are not tried":
        "注意：{target} 没有 IPv{version} 地址，不试这些途径",
    "there is no line {names}": "没有专线 {names}",
    "Lines in use: {names}": "在用的专线：{names}",
    "packets cannot be sent and watched: {why}": "无法发送和监视数据包：{why}",
    "Run it as root, in the node's network namespace.": "请以 root 身份在节点的网络命名空间中运行。",
    "none of the node's devices is here: {names}; nothing was sent":
        "此处没有节点的任何设备：{names}；未发送任何数据包",
    "Run it as root, in the node's network namespace: ip netns exec NAME, or nsenter --net --target PID.":
        "请以 root 身份在节点的网络命名空间中运行：ip netns exec NAME，或 nsenter --net --target PID。",
    "{count} ways are open: feiyu doctor says what is missing in the kernel":
        "{count} 条途径未被拦住：feiyu doctor 会说明内核中缺少什么",
    "no packet left beside its line": "没有数据包绕开专线外出",
    "note: neither control nor the register says which lines there are; only the node's ways are tried":
        "注意：控制进程和登记册都未能给出专线，只试节点自身的途径",
    "note: there is no line; only the node's ways are tried": "注意：没有专线，只试节点自身的途径",
    "VERDICT": "结论",
    "ATTEMPT": "尝试",
    "KIND": "类型",
    "BY": "由何拦住",
    "stopped": "已拦住",
    "held": "限于专线",
    "LEAKED": "泄漏",
    "OPEN": "未设防",
    "not tried": "未试",
    "plain socket of root": "root 的普通套接字",
    "plain socket of a worker's user": "工作进程用户的普通套接字",
    "echo request": "ICMP 回显请求",
    "mark without device": "有标记而未绑定设备",
    "device without mark": "绑定设备而无标记",
    "source alone": "只有专线的源地址",
    "another line's mark": "带另一条专线的标记",
    "mark of no line": "不属于任何专线的标记",
    "past the gateway, to a neighbour": "绕过网关，直达邻居",
    "echo request from its source": "以专线源地址发 ICMP 回显请求",
    "forged packet with its source": "伪造专线源地址的数据包",
    "forged neighbour solicitation": "伪造的邻居请求",
    "forged neighbour solicitation of a worker's user": "工作进程用户伪造的邻居请求",
    "forged neighbour solicitation from its source": "以专线源地址伪造的邻居请求",
    "forged neighbour solicitation by its device": "经专线设备伪造的邻居请求",
    "every way": "全部途径",
    "forwarded packet": "转发的数据包",
    "route told by an advertisement or redirect": "由路由通告或重定向得来的路由",
    "answer for an address of another device": "代答其他设备的地址",
    "redirect behind the table (nft netdev, tc)": "在表之后的改道（nft netdev、tc）",
    "packet socket (AF_PACKET)": "原始链路套接字 (AF_PACKET)",
}  # fmt: skip
