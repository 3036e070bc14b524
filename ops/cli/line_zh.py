"""Chinese for feiyu line's options of VXLAN and SRv6, and for edits that meet."""

LINE_ZH: dict[str, str] = {
    "A VXLAN segment with this network identifier; feiyu makes the device: --vxlan 7 --underlay eth1 "
    "--outer-source 192.0.2.9 --vxlan-peer 192.0.2.10 --on-link.":
        "VXLAN 网段的网络标识（VNI），设备由 feiyu 创建：--vxlan 7 --underlay eth1 "
        "--outer-source 192.0.2.9 --vxlan-peer 192.0.2.10 --on-link。",
    "VXLAN: the device that the outer packets leave by.": "VXLAN：外层报文的出口设备。",
    "VXLAN: the far end of the outer packets.": "VXLAN：外层报文的对端地址。",
    "VXLAN: UDP port of the far end (default: 4789).": "VXLAN：对端 UDP 端口（默认 4789）。",
    "A segment of an SRv6 list, the first one first; may be repeated: --segment 5f00::1 "
    "--segment 5f00::2 --outer-source 2001:db8::9 --outer-gateway fe80::1.":
        "SRv6 段列表中的一段，先经过者在前；可重复：--segment 5f00::1 "
        "--segment 5f00::2 --outer-source 2001:db8::9 --outer-gateway fe80::1。",
    "VXLAN, SRv6: source of the outer packets.": "VXLAN、SRv6：外层报文的源地址。",
    "VXLAN, SRv6: next hop of the outer packets.": "VXLAN、SRv6：外层报文的下一跳。",
    "VXLAN: the peer is on the underlay's link, without next hop.": "VXLAN：对端与出口设备同链路，无下一跳。",
    "VXLAN, SRv6: largest inner packet; 0: what the outer headers leave.":
        "VXLAN、SRv6：内层报文最大长度；0 表示除去外层报头后的余量。",
    "Neither VXLAN nor SRv6: its packets leave as they are.": "既非 VXLAN 也非 SRv6：报文原样发出。",
    "--plain stands alone: leave the options for VXLAN and SRv6 out": "--plain 须单独使用：请去掉 VXLAN 与 SRv6 选项",
    "--on-link and --outer-gateway contradict each other: give one of them":
        "--on-link 与 --outer-gateway 相互矛盾：只能给出其一",
    "a line is a VXLAN segment or a segment list, not both: leave --segment or the VXLAN options out":
        "专线只能是 VXLAN 网段或段列表之一：请去掉 --segment 或 VXLAN 选项",
    "the line is neither VXLAN nor SRv6": "该专线既非 VXLAN 也非 SRv6",
    "Say which: --vxlan VNI, or --segment ADDRESS.": "请指明：--vxlan VNI 或 --segment 地址。",
    "a {kind} line needs {names} too": "{kind} 专线还需要 {names}",
    "none: the peer is on-link": "无：对端同链路",
    "VXLAN": "VXLAN",
    "note: the line's device is now {device}, which is no longer made by feiyu: it must exist, "
    "or name another with feiyu line edit {line} --device":
        "注意：专线设备现为 {device}，feiyu 不再创建它：该设备须已存在，"
        "或用 feiyu line edit {line} --device 另行指定",
    "Underlay": "出口设备",
    "Peer": "对端",
    "SRv6 segments": "SRv6 段列表",
    "Outer source": "外层源地址",
    "Outer next hop": "外层下一跳",
    "Inner MTU": "内层 MTU",
}  # fmt: skip
