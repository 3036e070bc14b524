"""Alerts: whole, valid, each firing on what it is for and silent beside it, by promtool."""

import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from ops.cli import main
from tests.configs.kit import PROMETHEUS, RULES, alerts, rules, scrape, serving
from tests.telemetry.stream.kit import program

NAMES = [alert["alert"] for alert in alerts()]
HERE = 'instance="gw1"'


def promtool(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program("promtool"), *arguments], input=stdin, capture_output=True, check=False)


def test_promtool_takes_all_rules_and_the_configuration() -> None:
    done = promtool("check", "rules", *map(str, RULES))
    assert done.returncode == 0, done.stderr
    done = promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert done.returncode == 0, done.stderr
    done = subprocess.run([program("amtool"), "check-config", PROMETHEUS / "alertmanager.yml"], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_promtool_finds_nothing_to_say_about_the_metrics_of_a_running_node(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, port):
        done = promtool("check", "metrics", stdin=scrape(port))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("alert", alerts(), ids=NAMES)
def test_every_alert_says_how_bad_it_is_what_it_means_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning", "none")
    assert alert["labels"]["class"] in ("security", "availability", "capacity", "compliance", "watchdog")
    assert "for" in alert
    for part in ("summary", "description", "next", "runbook"):
        assert alert["annotations"][part].strip()
    path, _, anchor = alert["annotations"]["runbook"].rpartition("/")[2].partition("#")
    text = (PROMETHEUS / "runbooks" / path).read_text()
    assert anchor == alert["alert"].lower()
    assert f"\n## {alert['alert']}\n" in text
    assert f"\n## {alert['alert']}\n**" in text, "the section says something"


def commands() -> list[str]:
    found = [alert["annotations"]["next"] for alert in alerts()]
    for path in (PROMETHEUS / "runbooks").glob("*.md"):
        found += [code for code in path.read_text().split("`")[1::2] if code.startswith("feiyu ")]
    return sorted({command.partition("{{")[0].strip() for command in found})


@pytest.mark.parametrize("command", commands())
def test_every_command_that_is_recommended_exists(command: str) -> None:
    node: click.Command = main.build()
    context = click.Context(node)
    for word in command.split()[1:]:
        if isinstance(node, click.Group):
            found = node.get_command(context, word)
            assert found is not None, f"{command}: there is no {word}"
            node = found
        elif word.startswith("--"):
            options = [name for parameter in node.params for name in parameter.opts]
            assert word in options, f"{command}: there is no {word}"


def test_names_of_alerts_are_unique_and_security_is_a_file_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for alert in alerts():
        assert (alert["labels"]["class"] == "security") == (alert["file"] == "security")
    assert len({rule["record"] for rule in rules() if "record" in rule}) == sum("record" in rule for rule in rules())


def refused(reason: str) -> str:
    return f'feiyu_refusals_total{{{HERE},reason="{reason}"}}'


def dropped(counter: str) -> str:
    return f'feiyu_killswitch_dropped_packets_total{{{HERE},counter="{counter}"}}'


def of(name: str, *labels: str) -> str:
    return f"{name}{{{','.join([HERE, *labels])}}}"


LINE, SINK, STATE, ROLE = 'line="hk1"', 'sink="soc"', 'directory="state"', 'role="worker"'
OPENED = (of("feiyu_flows_opened_total"), "0+6000x600")
UP = ('up{instance="gw1",job="feiyu"}', "1x9000")
# alert: series and values each minute (or STEPS) for which it must fire at some minute, and for which it must not; the
# minute. (promtool's notation: start+step×count.) Near misses are just inside of what is normal.
CASES: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]], int]] = {
    "FeiyuKillSwitchDrops": (
        [(dropped("marked"), "0x5 1x20")],
        [(dropped("marked"), "7x25"), (dropped("forwarded"), "0+9x9 81x20")],
        8,
    ),
    "FeiyuLineKillSwitchDrops": (
        [(of("feiyu_line_killswitch_dropped_packets_total", LINE), "3x5 4x20")],
        [(of("feiyu_line_killswitch_dropped_packets_total", LINE), "3x25")],
        8,
    ),
    "FeiyuUnlistedTraffic": ([(dropped("dropped"), "0+90x60")], [(dropped("dropped"), "0+50x60")], 45),
    "FeiyuDrift": ([(of("feiyu_drift_repairs_total"), "0x5 2x20")], [(of("feiyu_drift_repairs_total"), "2x25")], 8),
    "FeiyuEvidenceDamaged": ([(of("feiyu_evidence_damaged"), "0x5 1x9")], [(of("feiyu_evidence_damaged"), "0x15")], 9),
    "FeiyuEvidenceStalled": (
        [(of("feiyu_evidence_lag_seconds"), "11x9")],
        [(of("feiyu_evidence_lag_seconds"), "9x9")],
        5,
    ),
    "FeiyuRecordsMissing": (
        [(of("feiyu_record_gaps_total"), "0x5 1x20")],
        [(of("feiyu_record_gaps_total"), "4x25")],
        8,
    ),
    "FeiyuRefusalSurge": (
        [(refused("not-whitelisted"), "0+12x720 9000+1200x15")],
        [(refused("not-whitelisted"), "0+1200x735")],
        1465,
    ),
    "FeiyuStrangerSurge": (
        [(refused("identity-unknown"), "0+360x40")],
        [(refused("identity-unknown"), "0+240x40")],
        30,
    ),
    "FeiyuNameMismatches": ([(refused("name-mismatch"), "0+18x40")], [(refused("name-mismatch"), "0+6x40")], 20),
    "FeiyuStreamHistoryLost": (
        [(of("feiyu_stream_missed_records_total", SINK), "0x5 9x20")],
        [(of("feiyu_stream_missed_records_total", SINK), "9x25")],
        8,
    ),
    "FeiyuStreamDeadLetters": (
        [(of("feiyu_stream_dead_letters_total", SINK), "0x5 1x20")],
        [(of("feiyu_stream_dead_letters_total", SINK), "1x25")],
        8,
    ),
    "FeiyuRecorderAbsent": (
        [('up{instance="gw1",job="feiyu"}', "1x5 0x9")],
        [('up{instance="x",job="other"}', "0x20")],
        9,
    ),
    "FeiyuNoNode": ([('up{instance="x",job="other"}', "1x20")], [('up{instance="gw1",job="feiyu"}', "0x20")], 9),
    "FeiyuRecorderBehind": (
        [(of("feiyu_recorder_lag_seconds"), "12x9")],
        [(of("feiyu_recorder_lag_seconds"), "0.1x9")],
        5,
    ),
    "FeiyuControlAbsent": ([(of("feiyu_control_up"), "1x3 0x9"), UP], [(of("feiyu_control_up"), "1x20"), UP], 9),
    "FeiyuProcessMissing": (
        [(of("feiyu_processes_ready", ROLE), "1x9"), (of("feiyu_processes_wanted", ROLE), "2x9")],
        [(of("feiyu_processes_ready", ROLE), "2x9"), (of("feiyu_processes_wanted", ROLE), "2x9")],
        5,
    ),
    "FeiyuRestartLoop": (
        [(of("feiyu_process_restarts_total", ROLE), "0x3 0+1x9")],
        [(of("feiyu_process_restarts_total", ROLE), "0x3 2x20")],
        10,
    ),
    "FeiyuLineDown": ([(of("feiyu_line_state", LINE), "1x2 0x9")], [(of("feiyu_line_state", LINE), "2x9")], 8),
    "FeiyuLineDegraded": ([(of("feiyu_line_state", LINE), "3x20")], [(of("feiyu_line_state", LINE), "1x20")], 15),
    "FeiyuNoLineLeft": (
        [(of("feiyu_line_state", LINE), "0x9"), (of("feiyu_line_state", 'line="sg1"'), "2x9")],
        [(of("feiyu_line_state", LINE), "0x9"), (of("feiyu_line_state", 'line="sg1"'), "3x9")],
        5,
    ),
    "FeiyuPortsExhausted": (
        [(of("feiyu_ports_exhausted_total", LINE), "0x5 1x20")],
        [(of("feiyu_ports_exhausted_total", LINE), "1x25")],
        8,
    ),
    "FeiyuReloadRejected": (
        [(of("feiyu_configuration_refused"), "1x9")],
        [(of("feiyu_configuration_refused"), "0x9")],
        5,
    ),
    "FeiyuRegisterUnreadable": ([(of("feiyu_register_readable"), "0x9")], [(of("feiyu_register_readable"), "1x9")], 5),
    "FeiyuPolicyNotPublished": ([(of("feiyu_policy_published"), "0x9")], [(of("feiyu_policy_published"), "1x9")], 5),
    "FeiyuSpoolFilling": ([(of("feiyu_spool_bytes"), "1e8+3e7x30")], [(of("feiyu_spool_bytes"), "2e8+1e6x30")], 25),
    "FeiyuDiskForecast": (
        [(of("feiyu_disk_free_bytes", STATE), "4e11-1e9x100"), (of("feiyu_disk_size_bytes", STATE), "1e12x100")],
        [(of("feiyu_disk_free_bytes", STATE), "4e11-5e7x100"), (of("feiyu_disk_size_bytes", STATE), "1e12x100")],
        490,
    ),
    "FeiyuDiskFull": (
        [(of("feiyu_disk_free_bytes", STATE), "4x20"), (of("feiyu_disk_size_bytes", STATE), "100x20")],
        [(of("feiyu_disk_free_bytes", STATE), "6x20"), (of("feiyu_disk_size_bytes", STATE), "100x20")],
        15,
    ),
    "FeiyuStreamBehind": (
        [(of("feiyu_stream_lag_seconds", SINK), "400x20")],
        [(of("feiyu_stream_lag_seconds", SINK), "200x20")],
        15,
    ),
    "FeiyuStreamDisconnected": (
        [(of("feiyu_stream_connected", SINK), "0x20")],
        [(of("feiyu_stream_connected", SINK), "1x2 0x3 1x20")],
        15,
    ),
    "FeiyuExpiresSoon": (
        [(of("feiyu_next_expiry_timestamp_seconds", 'kind="grant"'), f"{13 * 86400}x40")],
        [(of("feiyu_next_expiry_timestamp_seconds", 'kind="grant"'), f"{15 * 86400}x40")],
        30,
    ),
    "FeiyuExpiresNow": (
        [(of("feiyu_next_expiry_timestamp_seconds", 'kind="certificate"'), f"{2 * 86400}x40")],
        [(of("feiyu_next_expiry_timestamp_seconds", 'kind="certificate"'), f"{4 * 86400}x40")],
        30,
    ),
    "FeiyuLineContractEnds": (
        [(of("feiyu_line_contract_remaining_seconds", LINE), f"{59 * 86400}x90")],
        [(of("feiyu_line_contract_remaining_seconds", LINE), f"{61 * 86400}x90")],
        80,
    ),
    "FeiyuErrorBudgetBurnsFast": (
        [OPENED, (refused("line-unavailable"), "0+120x600")],
        [OPENED, (refused("line-unavailable"), "0+60x600")],
        120,
    ),
    "FeiyuErrorBudgetBurns": (
        [OPENED, (refused("overloaded"), "0+60x600")],
        [OPENED, (refused("overloaded"), "0+30x600")],
        500,
    ),
    "FeiyuErrorBudgetBurnsSlowly": (
        [OPENED, (refused("policy-unavailable"), "0+9x600")],
        [OPENED, (refused("policy-unavailable"), "0+3x600"), (refused("not-whitelisted"), "0+600x600")],
        4500,
    ),
    "FeiyuWatchdog": ([UP], [], 5),
}


# Minutes between samples and evaluations, where one would take promtool long.
STEPS = {
    "FeiyuRefusalSurge": 2,
    "FeiyuDiskForecast": 5,
    "FeiyuErrorBudgetBurns": 5,
    "FeiyuErrorBudgetBurnsSlowly": 10,
}


def test_every_alert_has_a_case_and_the_other_way_round() -> None:
    assert set(CASES) == set(NAMES)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_on_what_it_is_for_and_not_beside_it(name: str, tmp_path: Path) -> None:
    firing, silent, minute = CASES[name]
    step = f"{STEPS.get(name, 1)}m"
    tests = []
    for series, value in ((firing, 1), (silent, 0)):
        if not series:
            continue
        expression = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
        tests.append(
            {
                "interval": step,
                "input_series": [{"series": labels, "values": values} for labels, values in series],
                "promql_expr_test": [
                    {
                        "expr": expression,
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": "{}", "value": value}],
                    }
                ],
            }
        )
    file = tmp_path / "case.yml"
    own = next(alert["file"] for alert in alerts() if alert["alert"] == name)
    files = [str(PROMETHEUS / "rules" / f"{part}.yml") for part in ("recording", own)]
    order = ["feiyu-recording", f"feiyu-{own}"]  # else it is open, and a sample of the step before is too old at 10 m
    case = {"rule_files": files, "evaluation_interval": step, "group_eval_order": order, "tests": tests}
    file.write_text(yaml.safe_dump(case))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
