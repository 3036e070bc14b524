"""Chinese for feiyu spotcheck."""

SPOTCHECK_ZH: dict[str, str] = {
    "Spot checks: plan, draw, review; anybody can repeat the draw.":
        "监管抽查：计划、抽取、核查；任何人都能重复抽取过程。",
    "Fix what is looked at and which value decides, before that value can be known.":
        "在抽取值可知之前，固定抽查范围以及由哪个值决定样本。",
    "The public value, so that anybody can look it up.": "公开值的出处，任何人均可查到。",
    "When the value appears, at the earliest.": "该值最早出现的时刻。",
    "Instead: both sides' commitments.": "或改用双方的承诺值（监管方、运营方）。",
    "To find a fault with this confidence, percent,": "以此置信度（百分比）发现问题，",
    "where so many records are at fault, percent.": "当有问题的记录达到此比例（百分比）时。",
    "A part drawn from by itself: 'NAME [size=N] [kind=… tenant=… line=… service=… grant=… host=… reason=…]'.":
        "单独抽取的一层：'名称 [size=N] [kind=… tenant=… line=… service=… grant=… host=… reason=…]'。",
    "Where to write it.": "写入何处。",
    "say with which value: --source TEXT, or --commit REGULATOR OPERATOR":
        "请指明用哪个值：--source 文字，或 --commit 监管方承诺 运营方承诺",
    "Give {path} to all sides now: whoever has it before the value appears can show that it was fixed.":
        "请立即将 {path} 交给各方：在该值出现之前持有它的人，日后可证明计划早已固定。",
    "Make a secret and print its commitment, for spotcheck plan --commit.":
        "生成秘密值并输出其承诺，供 spotcheck plan --commit 使用。",
    "Which side.": "哪一方。",
    "Draw with the value that has appeared, and add the sample to the file.": "用已出现的值抽取样本，并写入文件。",
    "The public value, as its source publishes it.": "公开值，与其出处所公布的一致。",
    "A side's secret, in its file.": "一方的秘密值所在文件。",
    "List spot checks, or show one with its steps.": "列出抽查，或查看一次抽查及其步骤。",
    "There are no spot checks yet.": "尚无抽查。",
    "Record what was found in a record of the sample; the first begins the review.":
        "登记对样本中一条记录的核查结果；首次登记即开始核查。",
    "Nothing was found in it.": "未发现问题。",
    "Record what is done about the findings.": "登记对所发现问题的整改。",
    "Repeat the draw from the file, and with --log from the log too; exit 1 names the first wrong thing.":
        "依据文件（加 --log 时并依据日志）重复抽取；不符时退出码为 1，并指出第一处错误。",
    "found anew in the log": "已从日志重新得出",
    "as recorded: --log finds them anew": "依记录所载；加 --log 可从日志重新得出",
    "none given: that the plan was there before the value is shown by the log's own times, and by who kept it":
        "未给出：计划先于抽取值，仅由日志自身的时间以及留存者证明",
    "valid: the sample is the one that plan and value draw": "有效：样本正是由该计划与该值抽出的",
    "valid: the plan is fixed; nothing is drawn yet": "有效：计划已固定，尚未抽取",
    "End a spot check: nothing was found, or what was found is put right (or is passed on).":
        "结束抽查：未发现问题，或问题已整改（或移送上级）。",
    "It is not put right: it goes to the authority.": "未整改到位：移送主管机关。",
    "a spot check that is {state} cannot be escalated: rectify its findings first":
        "状态为 {state} 的抽查不能移送：请先登记整改",
    "{text!r}: {word!r} is none of {fields}": "{text!r}：{word!r} 不属于 {fields}",
    "A witness's verifier key, or a file with it.": "见证方的验证公钥，或存放它的文件。",
    "{text!r} is not a percentage; expected for example 95 or 0.5": "{text!r} 不是百分比；应如 95 或 0.5",
    "the record is written, but no checkpoint covers it after {count} s": "记录已写入，但 {count} 秒后仍无检查点覆盖它",
    "See feiyu status: does the recorder run?": "请查看 feiyu status：记录进程是否在运行？",
    # headings
    "PLANNED": "已计划", "BY": "操作人", "SAMPLE": "样本", "FINDINGS": "问题",
    "Spot check": "抽查", "Sample": "样本", "Findings": "问题", "Strata": "分层", "Steps": "步骤", "Value": "抽取值",
    "Not before": "不早于", "Seed": "种子",
    "Witnesses before it": "此前已见证", "Plans without a draw": "有计划而未抽取",
    "Verdict": "结论", "Log": "日志", "Size": "条数",
    # states
    "SAMPLED": "已抽样", "IN_REVIEW": "核查中", "FINDING": "发现问题", "RECTIFYING": "整改中", "CLOSED": "已结束",
    "VERIFIED": "整改合格", "ESCALATED": "已移送",
}  # fmt: skip
