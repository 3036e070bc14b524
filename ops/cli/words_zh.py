"""Chinese for the words of the command; the keys are the English texts as they stand in the code."""

from ops.cli.audit_zh import AUDIT_ZH
from ops.cli.ca_zh import CA_ZH
from ops.cli.egress_zh import EGRESS_ZH
from ops.cli.evidence_zh import EVIDENCE_ZH
from ops.cli.help_zh import HELP_ZH
from ops.cli.inspection_zh import INSPECTION_ZH
from ops.cli.line_zh import LINE_ZH
from ops.cli.link_zh import LINK_ZH
from ops.cli.messages_zh import MESSAGES_ZH
from ops.cli.onboard_zh import ONBOARD_ZH
from ops.cli.people_zh import PEOPLE_ZH
from ops.cli.policy_zh import POLICY_ZH
from ops.cli.report_zh import REPORT_ZH
from ops.cli.rule_zh import RULE_ZH
from ops.cli.spotcheck_zh import SPOTCHECK_ZH

ZH: dict[str, str] = {
    **POLICY_ZH, **MESSAGES_ZH, **HELP_ZH, **EGRESS_ZH, **EVIDENCE_ZH, **LINE_ZH, **CA_ZH, **ONBOARD_ZH, **LINK_ZH,
    **PEOPLE_ZH, **SPOTCHECK_ZH, **AUDIT_ZH, **REPORT_ZH, **RULE_ZH, **INSPECTION_ZH,
}  # fmt: skip
