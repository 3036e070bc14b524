"""Chinese for feiyu inspection and tenant consent."""

INSPECTION_ZH: dict[str, str] = {
    "What firms' programs trust where grants let inspect.": "内容检查所用、须由企业程序信任的证书。",
    "Where the firm's root is; not on the node.": "企业根证书所在目录；不得在节点上。",
    "Make a firm's root of inspection, to take away; its certificate is for the firm's machines.": (
        "建立企业的内容检查根，须离线保管；其证书装入该企业的设备。"
    ),
    "Make a firm's intermediate anew, for the hosts that its grants let inspect now; in force at once.": (
        "按当前授权允许检查的主机重新签发企业的中间证书，立即生效。"
    ),
    "How long it is good (default: 30).": "有效天数（默认 30）。",
    "it has no rules": "其中没有规则",
    "Put a firm's written consent to inspection on file, or take it back; in force at once.": (
        "登记或撤回企业对内容检查的书面同意，立即生效。"
    ),
    "The signed document; only its SHA-256 is kept.": "已签署的文件；仅留存其 SHA-256。",
    "Or its SHA-256.": "或其 SHA-256。",
    "Who signed it.": "签署人。",
    "When it was signed (default: now).": "签署时间（默认现在）。",
    "The consent is taken back: what is inspected is refused from now on.": "撤回同意：此后凡需检查的访问一律拒绝。",
    "--withdraw stands alone": "--withdraw 须单独使用",
    "a consent needs --signatory, and --document or --sha256": "同意书须给出 --signatory，以及 --document 或 --sha256",
    "What is allowed inside TLS: a YAML file with rules; the firm must have consented.": (
        "TLS 内允许的内容：含规则的 YAML 文件；须有企业书面同意。"
    ),
    "Hosts": "主机",
    "Inspected": "内容检查",
    "Consent": "检查同意书",
    "{count} rules": "{count} 条规则",
}
