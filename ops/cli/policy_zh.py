"""Chinese for feiyu policy and feiyu replay."""

POLICY_ZH: dict[str, str] = {
    "The policy as files: see what it would do, then apply it.": "以文件管理策略：先看影响，再应用。",
    "Lay policy files out in the one way.": "按统一格式排版策略文件。",
    "Write nothing; exit 1 where a file is laid out otherwise.": "不写文件；有文件格式不符时退出码为 1。",
    "{path} is laid out otherwise": "{path} 格式不符",
    "{path} was laid out": "{path} 已重新排版",
    "Check policy files without a node; exit 1 where something is wrong.": "离线检查策略文件；有错误时退出码为 1。",
    "Warnings count too.": "警告也算不通过。",
    "{errors} errors, {warnings} warnings": "{errors} 个错误，{warnings} 个警告",
    "Run the files' tests without a node; exit 1 where one fails.": "离线运行文件中的测试；有失败时退出码为 1。",
    "taken to lead abroad: {names}": "假定通往境外的专线：{names}",
    "the files have no tests": "文件中没有测试",
    "Add tests: what must pass, and what must not.": "请添加测试：哪些应放行，哪些不应放行。",
    "Show what differs from the register; exit 1 where something does.": "显示与登记库的差异；有差异时退出码为 1。",
    "nothing differs": "没有差异",
    "Show what applying the files would do, to whom; nothing is changed.":
        "显示应用这些文件会有何影响、影响谁；不作任何更改。",
    "To apply it: feiyu policy apply {names} --if-match {revision} --reason …":
        "应用：feiyu policy apply {names} --if-match {revision} --reason …",
    "Apply policy files, all or nothing; their tests must pass.":
        "应用策略文件：要么全部生效，要么都不生效；测试须全部通过。",
    "The revision the plan was made from; where anything changed since, nothing is applied (exit 4).":
        "计划所依据的版本；其后若有改动则不应用（退出码 4）。",
    "say which plan is meant: --if-match REVISION": "请指明所依据的计划：--if-match REVISION",
    "feiyu policy plan shows the revision.": "feiyu policy plan 会显示该版本号。",
    "Apply this?": "确认应用？",
    "Go back to an earlier revision, as one more change.": "回到较早的版本，这本身也是一次更改。",
    "List the revisions of the register, newest first.": "列出登记库的各版本，最新的在前。",
    "How many.": "条数。",
    "Nothing was changed yet.": "尚无更改。",
    "Write what the register holds as a policy file.": "将登记库内容写成策略文件。",
    "Only this firm, its grants and their services.": "仅此企业及其授权和相关服务。",
    "Line of grants, instead of the files' default; may be repeated.": "授权所用专线，代替文件中的默认值；可重复。",
    "Start of grants, instead of the files' default.": "授权的开始时间，代替文件中的默认值。",
    "End of grants, instead of the files' default.": "授权的结束时间，代替文件中的默认值。",
    "the policy cannot be used": "策略无法使用",
    "Nothing was changed. Correct the files, then run feiyu policy lint.":
        "未作任何更改。请改正文件，再运行 feiyu policy lint。",
    "and {count} more": "另有 {count} 项",
    "Effect": "影响",
    "Tests": "测试",
    "Stays as it is": "保持不变",
    "loses": "失去",
    "gains": "获得",
    "changes": "变更",
    "error": "错误",
    "{cut} of {open} live tunnels would be cut": "当前 {open} 个连接中有 {cut} 个将被切断",
    "live tunnels are not known: the recorder does not answer": "当前连接情况未知：记录进程没有应答",
    "{passed} tests passed, {failed} failed": "{passed} 个测试通过，{failed} 个失败",
    "{added} to add, {changed} to change, {removed} to take away; {same} stand already":
        "新增 {added} 项，变更 {changed} 项，移除 {removed} 项；{same} 项已是如此",
    "REVISION": "版本",
    "CHANGES": "更改数",
    # feiyu policy import
    "Make a policy file of a spreadsheet (xlsx, CSV), Squid's rules or Smokescreen's ACL.":
        "由电子表格（xlsx、CSV）、Squid 规则或 Smokescreen ACL 生成策略文件。",
    "Whose wishes they are.": "为哪个租户导入。",
    "Line of rows that name none; may be repeated.": "未写专线的行使用的专线；可重复。",
    "Start of rows that name none (default: now).": "未写开始日期的行的开始时间（默认：现在）。",
    "End of rows that name none.": "未写到期日期的行的结束时间。",
    "The same as a duration from now: 90d, 12mo.": "同上，写成自现在起的时长：90d、12mo。",
    "What the file is (default: by its name and content).": "文件类型（默认：按名称和内容判断）。",
    "Write a form to fill in instead: .xlsx or .csv, by the name of --out.":
        "改为输出填写模板：按 --out 的扩展名为 .xlsx 或 .csv。",
    "Apply the good rows at once, as one change.": "立即将合格的行作为一次更改应用。",
    "say what to import and for whom: feiyu policy import FILE --tenant T":
        "请指明导入什么、为谁导入：feiyu policy import FILE --tenant T",
    "reading {path}": "正在读取 {path}",
    "applying {count} grants": "正在应用 {count} 项授权",
    "the policy file would be larger than 8 MiB": "策略文件将超过 8 MiB",
    "Apply it at once with --apply, or import it in parts.": "请用 --apply 直接应用，或分批导入。",
    "not compared with the register: control does not answer": "未与登记库比对：控制进程没有应答",
    "{rows} rows, {good} good, {bad} left out: {services} new services, {grants} grants":
        "共 {rows} 行，合格 {good} 行，略过 {bad} 行：新增服务 {services} 项，授权 {grants} 项",
    "bad": "不合格",
    "changed": "已规范化",
    "duplicate": "重复",
    "overlap": "重叠",
    "note": "提示",
    "SHEET": "工作表",
    "ROW": "行",
    "COLUMN": "列",
    # feiyu explain, feiyu replay
    "The moment (default: now); a past one is asked of the policy of then.":
        "时刻（默认现在）；过去的时刻按当时的策略回答。",
    "Ask the policy as this file would make it; may be repeated.": "按应用该文件后的策略回答；可重复。",
    "Policy": "策略",
    "Decide what was recorded again with a proposed policy; exit 1 where something would change.":
        "用拟议策略重新判定已记录的请求；结果有变化时退出码为 1。",
    "The proposed policy file; may be repeated.": "拟议的策略文件；可重复。",
    "How far back.": "回溯多久。",
    "Up to when (default: now).": "截止时刻（默认现在）。",
    "The files are the whole policy; no node is asked.": "文件即全部策略，不询问节点。",
    "Run it on the node with an account that it admits, or name a copy with --log.":
        "请在节点上以有权限的账户运行，或用 --log 指定副本。",
    "See feiyu status.": "请查看 feiyu status。",
    "the policy in force is revision {number}, the plan was made from another":
        "现行策略为版本 {number}，与计划所依据的不同",
    "Try it again.": "请重试。",
    "{decisions} decisions: {allowed} would pass now, {denied} would be refused, {same} stay as they were":
        "共 {decisions} 次判定：{allowed} 次将改为放行，{denied} 次将改为拒绝，{same} 次不变",
    "{count} differ from the record already today, whatever is proposed":
        "{count} 次在现行策略下已与记录不同，与拟议无关",
    "Not known, for no policy decides it: {what}": "无法得知（并非由策略决定）：{what}",
    "Of those that would pass, {count} were never dialled: their addresses and TLS names are not known":
        "将放行的请求中有 {count} 次从未连接：其地址和 TLS 名称无从得知",
    "deny to allow": "拒绝→放行",
    "allow to deny": "放行→拒绝",
    "CHANGE": "变化",
    "DECISIONS": "次数",
    "HOSTS": "域名",
    "SERVICE": "服务",
    "LAST": "最近",
}  # fmt: skip
