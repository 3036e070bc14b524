"""What stands in the kernel for the lines, read back without the lines process and compared with what should."""

from collections.abc import Iterable, Iterator
from contextlib import closing

from gateway.line import nft
from gateway.line.model import LineEntry, NodeConfig
from gateway.line.netlink import Kernel
from gateway.line.plan import plan, sort_out
from gateway.line.reconcile import diff
from gateway.line.steps import LoadTable
from ops.doctor.finding import Finding, fail, ok, skip, warn

SHOWN = 3  # differences that are named; the rest is counted


def read_back(node: NodeConfig, lines: Iterable[LineEntry]) -> Iterator[Finding]:
    """Rules, routes and sysctls against the plan; of the nft table, whether it is there and knows each line."""
    specs, problems = sort_out(lines, node)
    for name, problem in sorted(problems.items()):
        yield fail(f"line {name}", problem, f"correct it: feiyu line edit {name}")
    wanted = plan(specs, node)
    try:
        with closing(Kernel()) as kernel:
            actual = kernel.read(wanted, nft.read_table())
    except (OSError, nft.NftError) as error:
        yield skip("kernel rules", f"cannot be read: {error}", "ask as root, in the node's network namespace")
        return
    unknown = [spec.id for spec in specs if f"{spec.mark:#010x}" not in actual.table or spec.device not in actual.table]
    if not actual.table:
        yield fail("kill switch", "the table inet feiyu is not loaded", "start the node: its lines process loads it")
    elif unknown:
        yield fail("kill switch", f"it does not know {', '.join(unknown)}", "see whether the lines process lives")
    else:
        yield ok("kill switch", "table inet feiyu")
    for rule in actual.foreign:
        yield warn("foreign rule", str(rule), "it decides before ours: remove it, or give it a priority behind them")
    for spec in specs:
        for way in spec.ways:
            if lost := actual.diverted.get((spec.table, way.version)):
                seen, _, remedy = str(lost).rpartition("; ")
                yield fail(f"line {spec.id}", f"IPv{way.version}: {seen}", remedy)
    steps = [str(step) for step in diff(wanted, actual.table, actual) if not isinstance(step, LoadTable)]
    if steps:
        more = f" and {len(steps) - SHOWN} more" if len(steps) > SHOWN else ""
        seen = f"not as planned; to do: {'; '.join(steps[:SHOWN])}{more}"
        yield fail("kernel rules", seen, "the lines process repairs this within seconds; if not, see its log")
    else:
        yield ok(
            "kernel rules", f"{len(wanted.rules)} rules, {len(wanted.routes)} routes, {len(wanted.sysctls)} sysctls"
        )
