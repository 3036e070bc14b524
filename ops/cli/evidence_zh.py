"""Chinese for feiyu evidence."""

EVIDENCE_ZH: dict[str, str] = {
    "The evidence log: verify it, prove records, offline.": "存证日志：离线校验、为记录出具证明。",
    "Directory of the log, as copied (default: this node's).": "日志目录或其副本（默认：本节点的日志）。",
    "The log's verifier key, or a file with it.": "日志的验证公钥，或存放它的文件。",
    "Verify the whole log, a range of it, a proof or a dossier; exit 1 names the first wrong thing.":
        "校验整个日志、其中一段、一份证明或案卷；不符时退出码为 1，并指出第一处错误。",
    "Write a flow's or refusal's records, its policy as it was and the contract into one file, proved.":
        "将一个连接或一次拒绝的记录、当时的策略与合同写入一个文件，并附证明。",
    "{count} records proved; of {first} entries of the policy {number}":
        "{count} 条记录已证明；策略 {first} 项中 {number} 项已证明",
    "valid: each record is in the log, and what is proved of the policy is as it was made":
        "有效：每条记录均在日志中，策略中已证明的各项与订立时一致",
    "Policy, proved": "策略（已证明）", "Policy, only told": "策略（仅陈述）", "Contract": "合同", "Missing": "缺少",
    "A checkpoint kept from before; may be repeated.": "以前留存的检查点；可重复。",
    "Only the entries A to B.": "只校验第 A 至 B 条。",
    "With PROOF: the record's bytes (default: those in the proof).": "与 PROOF 同用：记录原文（默认取证明中所附）。",
    "valid: every record is as it was when it was logged": "有效：每条记录均与入账时一致",
    "{count} lead to this one": "{count} 个均可推至当前检查点",
    "{count} in the node's own log agree": "本节点日志中 {count} 条与存证一致",
    "{seconds} s": "{seconds} 秒",
    "Write the proof of a record (C2SP tlog-proof), which stands without the log.":
        "出具一条记录的证明（C2SP tlog-proof），脱离日志也可验证。",
    "Where to write it (default: stdout).": "写入何处（默认：标准输出）。",
    "{path} cannot be written: {why}": "无法写入 {path}：{why}",
    "record {index} of {size}, proved under {origin}": "{origin} 共 {size} 条中的第 {index} 条，证明已出具",
    "Show the published checkpoint; keep it, to prove later that nothing was changed since.":
        "显示已发布的检查点；留存它，日后即可证明此前内容未被改动。",
    "Print a verifier in one file, which needs Python and cryptography only.":
        "输出单文件校验程序，只需 Python 与 cryptography。",
    "valid: the record is in the log": "有效：该记录在日志中",
    "valid: records {first} to {last} are in the log as they were": "有效：第 {first} 至 {last} 条记录与入账时一致",
    "no record in the log has the reference {ref}": "日志中没有编号为 {ref} 的记录",
    "A record can be proved once a checkpoint covers it, within two seconds: try again, or check it.":
        "记录在两秒内纳入检查点后才能证明：请稍后重试，或核对编号。",
    "Name the log's verifier key with --key: one line, NAME+ID+KEY, had from its operator long before.":
        "请用 --key 给出日志的验证公钥：一行，形如 NAME+ID+KEY，应早前已从运营方取得。",
    "Write a firm's records, or a flow's, each with its proof, and the verifier, into a new directory.":
        "将某企业或某连接的记录逐条附证明导出到新目录，并附校验程序。",
    "The directory to make; it must not be there.": "要新建的目录，不得已存在。",
    "Instead: a Parquet file for analysis, of all records if none are named.":
        "或改为写一个供分析的 Parquet 文件；未指明时含全部记录。",
    "say where to: --out DIRECTORY, or --parquet FILE": "请指明写到何处：--out 目录 或 --parquet 文件",
    "Parquet is written by DuckDB, which is not installed": "Parquet 由 DuckDB 写出，但尚未安装",
    "Install it where you analyse: pip install 'feiyu[analytics]'. A node does not need it.":
        "请在分析用的机器上安装：pip install 'feiyu[analytics]'；节点不需要它。",
    "say whose records: --tenant ID, or --flow ID": "请指明导出谁的记录：--tenant ID 或 --flow ID",
    "valid: each of the {count} records is in the log": "有效：{count} 条记录均在日志中",
    "{count} agree with the records; behind the last {number} are not yet stated":
        "{count} 份与记录相符；最后一份之后另有 {number} 条尚未列入",
    "Statements": "日结陈述",
    "Also look for what should be in the log and is not.": "并查找本应在日志中却缺失的内容。",
    "and {count} more": "另有 {count} 处",
    "{count} entries are no records": "{count} 条不是记录",
    "{name}: {first} recorded, {second} passed with headers": "{name}：记录 {first}，实际通过（含报头）{second}",
    "none found: numbers without a gap, signs of life, each flow opened and closed once":
        "未发现：序号连续、心跳不断、每个连接均有一开一闭",
    "Omissions": "缺失",
    "NOT VALID: {why}": "无效：{why}",
    "Keep the files as they are. A copy, a witness or an earlier checkpoint (--since) can say what was changed.":
        "请保持文件原状。副本、见证方或以前的检查点（--since）可以说明改动了什么。",
    "Run a witness (C2SP tlog-witness): it cosigns checkpoints that continue what it saw before.":
        "运行见证方（C2SP tlog-witness）：检查点与其先前所见一致，方予联署。",
    "The witness's name, as verifiers will know it.": "见证方名称，校验者以此识别。",
    "Its keys and what it remembers; back it up, and never put back an old copy of logs/.":
        "存放其密钥与记忆的目录；请备份，切勿用旧副本覆盖 logs/。",
    "Verifier key of a log to witness, or a file of such lines; may be repeated.":
        "要见证的日志的验证公钥，或每行一个公钥的文件；可重复。",
    "Where to listen.": "监听地址。",
    "Keep a parent log, NAME/parent, of all it cosigns.": "将所联署的检查点记入上级日志 NAME/parent。",
    "Sign with ML-DSA-44 too (post-quantum).": "同时以 ML-DSA-44（抗量子）签名。",
    "Serve TLS with this certificate.": "以此证书提供 TLS。",
    "The certificate's private key.": "证书的私钥。",
    "{text} is not HOST:PORT": "{text} 不是 HOST:PORT 形式",
    "another witness runs in {path}": "{path} 中已有见证方在运行",
    "the witness cannot run: {why}": "见证方无法运行：{why}",
    "A witness's key, or a file of such.": "见证方的验证公钥，或存放公钥的文件。",
    "How many of the witnesses must have signed (default: all).": "至少须有几个见证方联署（默认：全部）。",
    "The log is a parent log: a node's key, or a file.": "该日志为上级日志：给出节点日志的公钥或文件。",
    "A parent log that this log must be under (with --parent-key).":
        "本日志须在其下的上级日志（与 --parent-key 同用）。",
    "The parent log's verifier key, or a file with it.": "上级日志的验证公钥，或存放它的文件。",
    "followed to size {size}": "逐条核对至 {size} 条",
    "size {size}, by {names}, at {time}": "{size} 条，{names} 于 {time} 联署",
    "the first {count}, as a record says; their hashes stand": "前 {count} 条已删除（有记录为证），其哈希仍在",
    "Legal holds: records that are kept although they are old enough to go.": "依法保全：已到期限但须继续留存的记录。",
    "List the legal holds.": "列出依法保全。",
    "There are no legal holds.": "没有依法保全。",
    "Keep all records from a time on, for so long.": "自某一时间起的记录全部保全，直至期满。",
    "How long they are held: 90d, 12mo, 2y.": "保全多久：90d、12mo、2y。",
    "{id} holds what is there from {date} on": "{id} 自 {date} 起保全",
    "End a legal hold; what it kept and is old enough goes.": "解除一项保全；其所留且已到期限的记录将被删除。",
    "{id} holds nothing any more": "{id} 已解除",
    "The log of administrative acts, and the register against it.": "校验管理操作日志，并与登记册核对。",
    "{count} in the register agree; it was put back {times} times": "登记册中 {count} 项一致；登记册曾回退 {times} 次",
    "{count} in the register agree": "登记册中 {count} 项一致",
    "give --parent-key, too": "请同时给出 --parent-key",
    "--quorum counts witnesses: name them with --witness": "--quorum 是见证方数目：请用 --witness 列出见证方",
    "Nothing proves its records without its key.": "没有密钥，其记录便无从证明。",
}  # fmt: skip
