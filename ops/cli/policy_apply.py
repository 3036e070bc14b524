"""How a wish is carried out: from the revision that its plan was made from, or once its plan was shown and agreed."""

import rich_click as click

from ops.cli import output, policy_show
from ops.cli.app import App
from ops.cli.client import Json
from ops.cli.errors import usage
from ops.cli.policy_files import asked
from ops.cli.result import enforcement, waits
from ops.cli.words import t
from ops.policyfile.read import Files

IF_MATCH = click.option(
    "--if-match",
    "seen",
    type=click.IntRange(min=0),
    metavar="REVISION",
    help=t("The revision the plan was made from; where anything changed since, nothing is applied (exit 4)."),
)


def carry_out(app: App, body: Json, seen: int | None, found: Files | None = None) -> None:
    """Applies a wish that was planned at a revision; without one, plans it, shows the plan and asks. Where it became a
    request of just these changes, the command ends with exit 3."""
    reason = app.need_reason()
    if seen is None:
        if not app.interactive:
            raise usage(t("say which plan is meant: --if-match REVISION"), t("feiyu policy plan shows the revision."))
        made = asked(app, "/v1/policy/plan", body, found)
        policy_show.whole(made)
        if not made["counts"]:
            app.say(t("nothing had to be changed"))
            return
        click.confirm(t("Apply this?"), abort=True, err=True)
        seen = made["revision"]
    answer = asked(app, "/v1/policy/apply", {**body, "reason": reason, "limit": 1000}, found, revision=seen)
    if answer.get("request"):
        app.say(policy_show.summary(answer))
        waits(app, answer)
    parts = [policy_show.summary(answer), t("revision {number}", number=answer["revision"]), enforcement(answer)]
    parts += [t("marked {origin}", origin=origin) for origin in answer["origins"]]
    app.show(answer, lambda: output.write(" · ".join(parts)))
    for one in answer["stays"]:
        app.say(f"{one['collection']}/{one['id']}: {one['why']}")
