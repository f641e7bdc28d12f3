"""Durations as .NET writes them: `[d.]hh:mm:ss[.fffffff]`.

https://learn.microsoft.com/dotnet/standard/base-types/standard-timespan-format-strings
"""

from __future__ import annotations

import re

_FORM = re.compile(r"(?P<sign>-?)(?:(?P<d>\d+)\.)?(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:\.(?P<f>\d{1,7}))?)?")


def parse_timespan(text: str) -> float:
    """Seconds of a TimeSpan text.

    Raises:
        ValueError: the text is not a TimeSpan.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration of the form hh:mm:ss")
    part = {name: int(value or 0) for name, value in match.groupdict().items() if name not in ("sign", "f")}
    if part["h"] > 23 or part["m"] > 59 or part["s"] > 59:
        raise ValueError(f"{text!r} is not a duration of the form hh:mm:ss (hours to 23, minutes and seconds to 59)")
    fraction = int((match["f"] or "0").ljust(7, "0")) / 10_000_000
    seconds = part["d"] * 86_400 + part["h"] * 3_600 + part["m"] * 60 + part["s"] + fraction
    return -seconds if match["sign"] else seconds
