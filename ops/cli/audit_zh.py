"""Chinese for feiyu audit and for reads by authorities."""

AUDIT_ZH: dict[str, str] = {
    "Who read the records, and on whose authority.": "谁以何种职权调阅过记录。",
    "List what authorities read, the newest first.": "列出主管机关的调阅，新者在前。",
    "As this tenant is told: what is withheld from it is only counted.": "按告知该租户的方式：依法不告知的只计数。",
    "No authority has read records in the last 184 days.": "最近 184 天内没有主管机关调阅记录。",
    "{count} reads are lawfully withheld from the tenant; they are counted in its statements.":
        "另有 {count} 次调阅依法不告知租户；已计入其日结陈述。",
    "no: {why}": "否：{why}",
    "As an authority: which.": "以主管机关身份：机关名称。",
    "As an authority: on which legal basis.": "以主管机关身份：法律依据。",
    "As an authority: in which case.": "以主管机关身份：案号。",
    "As an authority: within which scope.": "以主管机关身份：调阅范围。",
    "Why the firm is lawfully not told of this read.": "依法不告知企业的理由。",
    "Write all records that match as JSON lines, the newest first.": "将所有符合的记录写为 JSON 行，新者在前。",
    "{count} records": "{count} 条记录",
    "AUTHORITY": "主管机关", "BASIS": "依据", "CASE": "案号", "SCOPE": "范围", "RECORDS": "条数", "TOLD": "已告知",
}  # fmt: skip
