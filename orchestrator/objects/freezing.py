"""Windows in which nothing that runs is moved: "Fri 16:00-Mon 06:00 Europe/Berlin", weekly, on that place's clocks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from orchestrator.objects.fields import refuse

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLE = "Fri 16:00-Mon 06:00 Europe/Berlin"
_DAY_MINUTES, _WEEK_MINUTES = 24 * 60, 7 * 24 * 60
_FORM = re.compile(r"(\w{3}) (\d\d):(\d\d)-(\w{3}) (\d\d):(\d\d) (\S+)", re.ASCII)
# A week without a change of clocks in either hemisphere: only to compare windows of different places.
_SOME_WEEK = datetime(2026, 1, 12)


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes since Monday 00:00; one that ends before it starts goes over the week's end. The end is not in it."""

    start: int
    end: int
    zone: ZoneInfo

    def contains(self, wall_s: float) -> bool:
        local = datetime.fromtimestamp(wall_s, self.zone)
        minute = local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute
        return (minute - self.start) % _WEEK_MINUTES < (self.end - self.start) % _WEEK_MINUTES

    def end_wall_s(self) -> float:
        """Of some week."""
        day, minute = divmod(self.end, _DAY_MINUTES)
        local = _SOME_WEEK.replace(day=_SOME_WEEK.day + day, hour=minute // 60, minute=minute % 60, tzinfo=self.zone)
        return local.timestamp()


def window(text: str) -> Window:
    """Raises for a validator."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise refuse(f"write it as {EXAMPLE}", "", text)
    start, end = _minute(found[1], found[2], found[3], text), _minute(found[4], found[5], found[6], text)
    if start == end:
        raise refuse("it is empty or the whole week: give it an end, or set stability.min_gain to 1", "", text)
    return Window(start, end, _zone(found[7], text))


def _minute(day: str, hour: str, minute: str, text: str) -> int:
    if day not in DAYS:
        raise refuse(f"{day!r} is no day: use {', '.join(DAYS)}", "", text)
    if int(hour) > 23 or int(minute) > 59:
        raise refuse(f"{hour}:{minute} is no time: use 00:00 to 23:59", "", text)
    return DAYS.index(day) * _DAY_MINUTES + int(hour) * 60 + int(minute)


def _zone(name: str, text: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        raise refuse(f"{name!r} is no time zone: use one of the IANA names, such as Europe/Berlin", "", text) from err


def _checked(text: str) -> str:
    window(text)
    return text


FreezeWindow = Annotated[str, Field(max_length=128), AfterValidator(_checked)]


def whole_week(texts: Sequence[str]) -> bool:
    """Whether the windows together leave no minute: then each one's end lies in another."""
    windows = [window(text) for text in texts]
    return bool(windows) and all(any(other.contains(one.end_wall_s()) for other in windows) for one in windows)


def freeze_at(texts: Sequence[str], wall_s: float) -> str | None:
    """The first window that holds at that moment."""
    return next((text for text in texts if window(text).contains(wall_s)), None)
