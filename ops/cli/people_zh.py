"""Chinese for accounts, logins, requests and the audit."""

PEOPLE_ZH: dict[str, str] = {
    "! the register's history is not the one that was recorded": "！登记库的历史与当时的记录不符",
    "--digest is needed, as nobody can be asked: it says what you decide on": (
        "无法询问，须给出 --digest：它说明您所决定的内容"
    ),
    "A role; may be repeated.": "角色；可重复。",
    "Account (a-z, 0-9, -)": "账户（a-z、0-9、-）",
    "Accounts: named people, their roles and keys.": "账户：实名人员及其角色和密钥。",
    "Add an account; another administrator approves it.": "添加账户；须另一名管理员批准。",
    "Adds accounts and keeps the machine; its public key, or the file with it.": (
        "系统管理员：添加账户、维护机器；给出其公钥或公钥文件。"
    ),
    "Approve a request with your signature; it is in force at once.": "以本人签名批准申请；立即生效。",
    "Ask that two people stand by what one put in before there were accounts.": (
        "申请由两人确认建立账户之前一人所作的登记。"
    ),
    "Nothing there is marked bootstrap.": "其中没有标为 bootstrap 的登记。",
    "Approve this?": "批准吗？",
    "CHANGES": "变更",
    "Changes that wait for a second person.": "等待第二人批准的变更。",
    "Code": "动态口令",
    "Disable an account at once.": "立即停用账户。",
    "Enable a disabled account; another administrator approves it.": "启用已停用的账户；须另一名管理员批准。",
    "End after the last one.": "显示最后一条后结束。",
    "Have an administrator run: feiyu account add {id} --name … --role … --key {key}": (
        "请管理员运行：feiyu account add {id} --name … --role … --key {key}"
    ),
    "KEY": "密钥",
    "Keep the node as it is; call the audit administrator.": "请保持节点现状，并通知审计管理员。",
    "LAPSES": "失效",
    "List the accounts.": "列出账户。",
    "List the requests.": "列出申请。",
    "Log in again with a code.": "请用动态口令重新登录。",
    "Log in from the machine where your key is, or have the new one approved: feiyu account key.": (
        "请在存有您密钥的机器上登录，或申请批准新密钥：feiyu account key。"
    ),
    "Log in; the first time, make your key and set password and code.": (
        "登录；首次登录时生成密钥，设置口令和动态口令。"
    ),
    "Log out.": "退出登录。",
    "Look at it again: feiyu request show.": "请重新查看：feiyu request show。",
    "Name the three administrators now?": "现在指定三名管理员吗？",
    "No request waits for you.": "没有等待您处理的申请。",
    "Only those that you could decide on.": "仅限您可以决定的。",
    "Passphrase of your key": "密钥的口令短语",
    "Password": "口令",
    "Put it back from a backup.": "请从备份恢复。",
    "Put this into your authenticator program; it is not shown again:": "请存入您的验证器程序；不会再次显示：",
    "ROLES": "角色",
    "Read the chain of revisions from its beginning, and compare it with the records.": (
        "从头校验版本链，并与记录比对。"
    ),
    "Reads what was done.": "审计管理员：查阅所有操作。",
    "Reject a request with your signature.": "以本人签名驳回申请。",
    "Reject this?": "驳回吗？",
    "Replace an account's key; another administrator approves it.": "更换账户密钥；须另一名管理员批准。",
    "Replace an account's roles; another administrator approves it.": "更换账户角色；须另一名管理员批准。",
    "SUBMITTED": "提交",
    "Show the last acts, then follow, until Ctrl-C.": "显示最近的操作并持续跟踪，直至 Ctrl-C。",
    "Show what a request would change.": "显示申请将作的变更。",
    "Show who you are to this node.": "显示您在本节点的身份。",
    "Take password and code away, your own or another's; the next login sets them with the key.": (
        "清除口令和动态口令（本人或他人）；下次登录时凭密钥重设。"
    ),
    "Tell the audit administrator; feiyu audit verify reads the chain.": (
        "请通知审计管理员；feiyu audit verify 可校验版本链。"
    ),
    "The firm, of its applicant or compliance officer.": "申请人或合规员所属的企业。",
    "The person's name": "姓名",
    "The person's name.": "姓名。",
    "The public key that feiyu login printed.": "feiyu login 显示的公钥。",
    "The second person for accounts.": "安全管理员：账户变更的第二人。",
    "There are no accounts, so there is no chain yet.": "尚无账户，因此还没有版本链。",
    "There are no accounts: one person suffices for every change.": "尚无账户：任何变更一人即可。",
    "There are no requests.": "没有申请。",
    "Try again.": "请重试。",
    "WAITS FOR": "等待",
    "What was done, by whom and why.": "何人做了何事，为何。",
    "What you decide on, as request show says it; nothing is asked then.": (
        "您所决定内容的摘要，见 request show；给出后不再询问。"
    ),
    "Where the code is, instead of asking for it.": "动态口令所在文件，不再询问。",
    "Where the passphrase of your key is, instead of asking for it.": "密钥口令短语所在文件，不再询问。",
    "Where the password is, instead of asking for it.": "口令所在文件，不再询问。",
    "Withdraw a request of your own.": "撤回本人的申请。",
    "Your key is on the machine where you made it.": "您的密钥在生成它的机器上。",
    "account {id} has another key than {path}": "账户 {id} 的密钥与 {path} 不同",
    "disabled": "已停用",
    "enabled": "已启用",
    "account": "账户",
    "history was rewritten: {why}": "历史被改写：{why}",
    "logged in as {id} ({roles}); after {minutes} idle minutes it is over": (
        "已登录为 {id}（{roles}）；闲置 {minutes} 分钟后自动退出"
    ),
    "logged out: {id}": "已退出：{id}",
    "no key of {id} is on this machine: one is made and sealed by a passphrase": (
        "本机没有 {id} 的密钥：现在生成，并以口令短语加密"
    ),
    "nobody was logged in": "无人登录",
    "none: this node has no accounts": "无：本节点没有账户",
    "note: without accounts one person suffices for every change; name the administrators with init": (
        "注意：没有账户时任何变更一人即可；请用 init 指定管理员"
    ),
    "request {id} approved": "申请 {id} 已批准",
    "request {id} has the digest {digest}": "申请 {id} 的摘要是 {digest}",
    "request {id} is not what its digest says: do not decide on it": "申请 {id} 与其摘要不符：请勿决定",
    "request {id} rejected": "申请 {id} 已驳回",
    "request {id} waits for {roles} · digest {digest}": "申请 {id} 等待 {roles} · 摘要 {digest}",
    "request {id} waits for: {roles}": "申请 {id} 等待：{roles}",
    "request {id} withdrawn": "申请 {id} 已撤回",
    "the factors are set": "口令和动态口令已设置",
    "the passphrase does not open {path}": "口令短语打不开 {path}",
    "the passphrase needs at least {count} characters": "口令短语至少 {count} 个字符",
    "the three administrators come together: {names} is missing": "三名管理员须同时指定：缺少 {names}",
    "there is no account {id} yet; your key is {key}": "尚无账户 {id}；您的公钥是 {key}",
    "there is no key at {path}": "{path} 处没有密钥",
    "this node has no accounts, so nothing waits for anybody": "本节点没有账户，没有等待批准的申请",
    "three accounts were made; from now on what opens something waits for a second person": (
        "已建立三个账户；今后凡放宽的变更须第二人批准"
    ),
    "put this into {path}, so that the node itself checks each approval:": ("请写入 {path}，使节点自行核验每项批准："),
    "whose? nobody is logged in": "谁的？无人登录",
    "{id!r} is no account": "{id!r} 不是账户",
    "{id} sets password and code at the next login": "{id} 将在下次登录时设置口令和动态口令",
    "{name} is needed, as nobody can be asked": "无法询问，须给出 {name}",
    "{path} is no key that this release can read": "{path} 不是本版本可读的密钥",
    "{text!r} is no public key: 64 hex digits, or the file that feiyu login made": (
        "{text!r} 不是公钥：须为 64 位十六进制，或 feiyu login 生成的文件"
    ),
    "… and {count} more; -o json shows all": "……另有 {count} 项；-o json 显示全部",
    # names of fields
    "Account": "账户",
    "Roles": "角色",
    "Key": "密钥",
    "Secret": "密钥串",
    "Address": "地址",
    "Submitted": "提交",
    "Lapses": "失效",
    "Waits for": "等待",
    "Digest": "摘要",
    "Zone": "园区",
    "Links": "链节",
    "Head": "末节",
    "Differ": "不符",
    # roles
    "tenant-applicant": "租户申请人",
    "tenant-compliance": "租户合规员",
    "platform-operator": "平台操作员（初审）",
    "zone-reviewer": "园区复审员",
    "carrier-engineer": "运营商工程师",
    "security-operator": "安全操作员",
    "regulator": "监管人员",
    "system-administrator": "系统管理员",
    "security-administrator": "安全管理员",
    "audit-administrator": "审计管理员",
}
