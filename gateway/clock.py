"""The zone's clock (UTC+8, no summer time), by which days, months and every time that people read go."""

import datetime

ZONE = 8 * 3600  # seconds before UTC


def zone_time(wall: float) -> str:
    """A Unix second as the zone's clocks show it, RFC 3339."""
    zone = datetime.timezone(datetime.timedelta(seconds=ZONE))
    return datetime.datetime.fromtimestamp(int(wall), zone).isoformat()
