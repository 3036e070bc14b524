"""feiyu tenant onboard: all that a firm needs to use the gateway."""

from collections.abc import Iterator
from dataclasses import asdict

import rich_click as click

from ops.cli import output, values
from ops.cli.app import App
from ops.cli.base import Command, pass_app
from ops.cli.client import Json, path_of
from ops.cli.common import either
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.words import current, t
from ops.portal.managed import managed
from ops.portal.programs import programs
from ops.portal.recipe import Proxy, Recipe


@click.command(
    "onboard",
    cls=Command,
    writes=True,
    help=t("Print all that a tenant needs: addresses, PAC, settings of its programs."),
    example="feiyu tenant onboard acme --markdown --lang zh",
)
@click.argument("tenant", type=values.Identifier("tenants"))
@click.option("--markdown", is_flag=True, help=t("As Markdown."))
@click.option("--issue", metavar="LABEL", help=t("Issue a credential for this user, and fill its token in."))
@click.option("--until", type=values.UNTIL, help=t("End: a date (that day included), a time, or a duration."))
@click.option("--for", "for_", type=values.FOR, help=t("End, as a duration from now: 90d, 12mo."))
@pass_app
def onboard(app: App, tenant: str, *, markdown: bool, issue: str | None, until: int | None, for_: int | None) -> None:
    """Without --issue there is no token in it, but words that stand for one."""
    if issue is None and (until or for_):
        raise usage(t("--until and --for are for the credential of --issue"))
    end = None if issue is None else either(until, for_, "--until", "--for")
    try:
        known = app.client.get(path_of("tenants", tenant) + "/ways")
    except CliError as error:
        raise app.suggest(error, "tenants", tenant) from None
    way = next((way for scheme in ("http:", "https:") for way in known["ways"] if way["url"].startswith(scheme)), None)
    if way is None:
        raise CliError(
            ExitCode.NO,
            t("no listener of this node is for {name}", name=tenant),
            t("Add a plain listener on its access network to the configuration, or name gateways there (pac)."),
        )
    credential, token = "CREDENTIAL", "TOKEN"
    issued: Json = {}
    if issue is not None:
        issued = app.write("POST", ["credentials"], {"tenant": tenant, "user": issue, "valid_until": end})
        credential, token = str((issued.get("credential") or {}).get("id", "")), str(issued.get("token", ""))
    login = (credential, token) if way["token"] else ()
    proxy = Proxy(way["url"].partition("://")[0], way["host"], way["port"], *login)
    recipes = [*programs(proxy), *(managed(known["pac"], tenant) if known["pac"] else [])]
    shown: Json = {**known, "recipes": [asdict(recipe) for recipe in recipes]}
    if issue is not None:
        shown["credential"] = {"id": credential, "token": token, "valid_until": end}
    write = _markdown if markdown else _text
    text = "\n".join(write(shown, recipes))
    if app.format == "csv":
        app.details(shown, [(recipe.key, recipe.content or recipe.command) for recipe in recipes])
    else:
        app.show(shown, lambda: output.write(output.escape_lines(text)))


def _facts(shown: Json) -> list[tuple[str, str]]:
    """Addresses, and where the firm finds its own page."""
    return [
        *((t("Proxy"), f"{way['url']}{_demand(way)}") for way in shown["ways"]),
        (t("PAC file"), shown["pac"] or "–"),
        (t("The firm's own page"), f"{shown['page']} {t('(through the proxy)')}"),
    ]


def _demand(way: Json) -> str:
    """What one has to show there beside a credential's token, or instead of it."""
    if way["certificate"]:
        return f" {t('(for machines with a certificate: feiyu credential invite, feiyu link)')}"
    return "" if way["token"] else f" {t('(no credential: the place says who asks)')}"


def _words() -> list[str]:
    """How the token is handled, and what is refused."""
    return [
        t("CREDENTIAL (user name) and TOKEN (its password) are issued to a user; hand them over in person or sealed."),
        t("Keep it in files that only their owner can read (chmod 600), not in commands or in source code."),
        t("What is not whitelisted is refused with a reason and a reference; the firm's own page explains both."),
    ]


def _name(shown: Json) -> str:
    names = (shown["name_zh"], shown["name"]) if current() == "zh" else (shown["name"], shown["name_zh"])
    return next((str(name) for name in names if name), str(shown["tenant"]))


def _said(words: dict[str, str]) -> str:
    return words[current()]


def _file(recipe: Recipe) -> str:
    return f"{recipe.file}{t(' (mode 0600)') if recipe.secret else ''}"


def _text(shown: Json, recipes: list[Recipe]) -> Iterator[str]:
    """For a terminal: contents are indented by four blanks."""
    yield f"{_name(shown)} ({shown['tenant']})"
    yield ""
    for name, value in _facts(shown):
        yield f"  {name}: {value}"
    yield ""
    yield from (f"  {line}" for line in _words())
    for recipe in recipes:
        yield ""
        yield f"── {_said(recipe.title)}"
        if recipe.file:
            yield f"  {_file(recipe)}"
        yield from (f"    {line}" for line in recipe.content.splitlines())
        if recipe.command:
            yield f"  $ {recipe.command}"
        if recipe.note:
            yield f"  {_said(recipe.note)}"


def _markdown(shown: Json, recipes: list[Recipe]) -> Iterator[str]:
    """For a mail or a page."""
    yield f"# {_plain(_name(shown))} ({shown['tenant']})"
    yield ""
    for name, value in _facts(shown):
        yield f"- {name}: {value}"
    yield ""
    for line in _words():
        yield line
        yield ""
    for recipe in recipes:
        yield f"## {_said(recipe.title)}"
        yield ""
        if recipe.file:
            yield f"`{recipe.file}`{t(' (mode 0600)') if recipe.secret else ''}"
            yield ""
        for content in (recipe.content, recipe.command):
            if content:
                yield from ("```", *content.splitlines(), "```", "")
        if recipe.note:
            yield _said(recipe.note)
            yield ""


def _plain(text: str) -> str:
    """A name in Markdown, as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|~&" else c for c in text)
