"""How the outcome of a change is told: what took effect, in which revision, where and how fast."""

from click.exceptions import Exit

from ops.cli import output
from ops.cli.app import App
from ops.cli.client import Json
from ops.cli.errors import ExitCode
from ops.cli.words import t

UNCHANGED = "nothing had to be changed"  # as control says it


def enforcement(answer: Json) -> str:
    """The part of the sentence about the workers."""
    enforced = answer.get("enforced")
    if not isinstance(enforced, dict) or not isinstance(enforced.get("acked"), list):
        why = str(answer.get("why") or "")
        if why == UNCHANGED:
            return t("nothing had to be changed")
        return t("not enforced yet: {why}", why=output.escape(why or t("no workers run")))
    workers = [str(name) for name in enforced["acked"] if str(name).startswith("w")]
    if not workers:
        return t("not enforced yet: {why}", why=t("no workers run"))
    took = round(float(enforced.get("ms") or 0))
    return (
        t("enforced in {count} workers in {ms} ms", count=len(workers), ms=took)
        if len(workers) != 1
        else t("enforced in 1 worker in {ms} ms", ms=took)
    )


def report(app: App, answer: Json, noun: str, done: str, identifier: str = "") -> None:
    """Says "grant g-… added · revision 12 · enforced in 2 workers in 14 ms · marked bootstrap", or shows the answer.
    A change that became a request ends the command with exit 3."""
    if answer.get("request"):
        waits(app, answer)
    item = answer.get("item") or answer.get("credential") or {}
    parts = [f"{t(noun)} {output.escape(str(item.get('id') or identifier))} {t(done)}"]
    if answer.get("revision"):
        parts.append(t("revision {number}", number=answer["revision"]))
    parts.append(enforcement(answer))
    origin = (item.get("provenance") or {}).get("origin", "")
    if origin:
        parts.append(t("marked {origin}", origin=origin))
    sentence = " · ".join(parts)
    app.show(answer, lambda: output.write(sentence))
    killed = (answer.get("enforced") or {}).get("killed") or []
    if killed:
        app.say(t("{names} did not answer within a second and was restarted", names=", ".join(map(str, killed))))
    for warning in answer.get("warnings") or []:
        app.say(t("warning: {text}", text=warning))


def waits(app: App, answer: Json) -> None:
    """Tells that a change became a request, and ends the command with exit 3."""
    made = answer["request"]
    roles = t(" or ").join(made["waits_for"])
    sentence = t("request {id} waits for {roles} · digest {digest}", id=made["id"], roles=roles, digest=made["digest"])
    app.show(answer, lambda: output.write(sentence))
    raise Exit(ExitCode.WAITING)
