"""States of firms, grants and lines in plain words, in both languages, and moments as the zone's clocks show them."""

from datetime import UTC, datetime, timedelta, timezone

from tenants.model import Tenant, TenantState
from whitelist.model import DataGrade, Grant, GrantState

Words = dict[str, str]  # {"zh": …, "en": …}

ZONE = timezone(timedelta(hours=8))  # China has one time
SOON = 30 * 86_400  # seconds before an end that are worth a word
_FAR = 253_402_300_799  # 9999-12-31

LINE_STATES: dict[str, Words] = {
    "up": {"zh": "正常", "en": "in service"},
    "degraded": {"zh": "质量下降，仅在没有其他正常专线时使用", "en": "impaired; used only while no other line is well"},
    "down": {"zh": "中断；将改用为您指定的其他专线", "en": "down; other lines designated to you are used instead"},
    "draining": {"zh": "停止接受新连接", "en": "takes no new connections"},
    "drained": {"zh": "已由运营方停止接受新连接", "en": "taken out of use by the operator"},
    "ended": {"zh": "合同期外", "en": "outside its contract's term"},
    "retired": {"zh": "已停用", "en": "retired"},
    "unknown": {"zh": "状态未知", "en": "state not known now"},
}
_TENANT_STATES: dict[TenantState, Words] = {
    TenantState.ACTIVE: {"zh": "有效", "en": "active"},
    TenantState.RENEWAL_DUE: {"zh": "有效，待续期", "en": "active, renewal due"},
    TenantState.SUSPENDED: {"zh": "已暂停：国际访问被拒绝", "en": "suspended: access abroad is refused"},
    TenantState.EXPIRED: {"zh": "已到期：国际访问被拒绝", "en": "expired: access abroad is refused"},
}
_SUSPENDED: Words = {"zh": "已暂停", "en": "suspended"}
_ENDED: Words = {"zh": "已到期", "en": "expired"}
_NOT_BEGUN: Words = {"zh": "尚未开始", "en": "not begun yet"}
_SOON: Words = {"zh": "有效，即将到期", "en": "in force, ends soon"}
_IN_FORCE: Words = {"zh": "有效", "en": "in force"}
_CORE: Words = {"zh": "核心数据不得出境", "en": "core data may not leave"}


def tenant_words(tenant: Tenant, now: int) -> Words:
    """The firm's state at Unix second now."""
    if tenant.state in (TenantState.ACTIVE, TenantState.RENEWAL_DUE):
        if now >= tenant.valid_until:
            return _TENANT_STATES[TenantState.EXPIRED]
        if now < tenant.valid_from:
            return _NOT_BEGUN
    return _TENANT_STATES.get(tenant.state, {"zh": tenant.state, "en": tenant.state.lower().replace("_", " ")})


def grant_words(grant: Grant, now: int) -> Words:
    """A grant's state at Unix second now; its weekdays and hours are left to the reader of the window."""
    if grant.state is GrantState.SUSPENDED:
        return _SUSPENDED
    if grant.state is not GrantState.EFFECTIVE or now >= grant.window.valid_until:
        return _ENDED
    if now < grant.window.valid_from:
        return _NOT_BEGUN
    if grant.data_grade is DataGrade.CORE:
        return _CORE
    return _SOON if grant.window.valid_until - now <= SOON else _IN_FORCE


def moment(second: float) -> str:
    """A Unix second for people: "2026-11-25 18:47:21 UTC+8"; "" for none."""
    return (
        f"{datetime.fromtimestamp(min(second, _FAR), UTC).astimezone(ZONE):%Y-%m-%d %H:%M:%S} UTC+8" if second else ""
    )
