"""Chinese for feiyu report."""

REPORT_ZH: dict[str, str] = {
    "Reports.": "报告。",
    "Show which clauses are met by what, which tests show it, and what stays with the operator.":
        "列出各条款由何满足、哪些测试可证明，以及仍由运营方负责的事项。",
    "{met} met, {partly} in part, {missing} not. Software is no certificate.":
        "满足 {met} 条，部分满足 {partly} 条，未满足 {missing} 条。软件本身不是认证证书。",
    "there is no clause {id}": "没有条款 {id}",
    "See feiyu report compliance.": "请查看 feiyu report compliance。",
    "STANDARD": "标准", "CLAUSE": "条款", "REQUIREMENT": "要求", "TESTS": "测试",
    "met": "满足", "partly": "部分满足", "missing": "未满足",
    "Standard": "标准", "Clause": "条款", "Requirement": "要求", "Answered by": "对应功能", "Shown by": "证明测试",
    "Operator's": "运营方负责",
}  # fmt: skip
