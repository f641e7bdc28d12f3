"""The validation rules of an egg's variable (Laravel's) as the bounds of ours."""

from __future__ import annotations

import re
from typing import Any

from shared.templates.eggs.reading import plain, truth
from shared.templates.eggs.report import Report
from shared.templates.variables import FALSE, TRUE, pattern_fault

SECRET_WORDS = re.compile(r"PASS|SECRET|TOKEN|API_?KEY|RCON_PW|STEAM_ACC|LICENSE_?KEY|PRIVATE_KEY")
PATTERNS = {
    "alpha": r"[\p{L}\p{M}]*",
    "alpha_num": r"[\p{L}\p{M}\p{N}]*",
    "alpha_dash": r"[\p{L}\p{M}\p{N}_-]*",
    "url": r"(https?|ftp)://\S+",
    "active_url": r"(https?)://\S+",
    "ip": r"[0-9a-fA-F:.]{2,45}",
    "ipv4": r"\d{1,3}(\.\d{1,3}){3}",
    "ipv6": r"[0-9a-fA-F:.]{2,45}",
    "email": r"[^@\s]+@[^@\s]+",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
BOUNDS = {"max", "min", "between", "size", "digits", "digits_between", "gt", "gte", "lt", "lte"}
SILENT = {"sometimes", "filled", "present", "bail", "string", "nullable", "required", "array"}


def split_rules(rules: Any) -> list[tuple[str, str]]:
    """`required|string|max:20` as pairs. A `regex:` rule takes the rest up to its closing delimiter: it may hold `|`."""
    if isinstance(rules, list):
        parts = [str(rule) for rule in rules]
    else:
        text = str(rules or "")
        parts = []
        while text:
            match = re.match(r"(?:not_)?regex:(.)(?:\\.|(?!\1).)*\1[a-zA-Z]*", text, re.DOTALL)
            end = match.end() if match else (text.find("|") if "|" in text else len(text))
            parts.append(text[:end])
            text = text[end:].lstrip("|") if match else text[end + 1 :]
    pairs = (part.strip().partition(":") for part in parts if part.strip())
    return [(name.strip().lower(), argument) for name, _, argument in pairs]


class VariableBuilder:
    """Reads one variable's rules into the fields of our variable."""

    def __init__(self, name: str, raw: dict[str, Any], report: Report) -> None:
        self._name, self._raw, self._report = name, raw, report
        self._part = f"variables.{name}"
        self.fields: dict[str, Any] = {
            "name": name,
            "title": self._cut("name", clean(raw.get("name")).strip() or name, 100),
            "description": self._cut("description", clean(raw.get("description")), 4000),
            "visible": truth(raw.get("user_viewable"), True),
            "editable": truth(raw.get("user_editable"), True),
            "required": False,
            "max_length": 4000,
        }

    def _cut(self, what: str, text: str, most: int) -> str:
        if len(text) > most:
            self._report.changed(f"{self._part}.{what}", f"has {len(text)} characters: the first {most} are kept")
        return text[:most]

    def build(self) -> dict[str, Any]:
        """The fields of `models.Variable`."""
        rules = split_rules(self._raw.get("rules"))
        names = {name for name, _ in rules}
        self.fields["required"] = "required" in names and "nullable" not in names
        self._choose_type(names)
        for name, argument in rules:
            self._apply(name, argument)
        if SECRET_WORDS.search(self._name):
            self.fields["secret"] = True
            self._report.changed(self._part, "its name says that it is a secret: its value is stored apart and hidden")
        self._set_default()
        return self.fields

    def _choose_type(self, names: set[str]) -> None:
        if names & {"integer", "int"}:
            self.fields["type"] = "integer"
        elif names & {"numeric", "decimal"}:
            self.fields["type"] = "integer" if names & {"digits", "digits_between"} else "number"
        elif names & {"boolean", "bool"}:
            self.fields["type"] = "text"  # an egg's flag is 0 or 1 in the command, never true
            self.fields |= {"type": "choice", "choices": ["0", "1"]}

    @property
    def _numeric(self) -> bool:
        return self.fields.get("type") in ("integer", "number")

    def _apply(self, name: str, argument: str) -> None:
        if name in SILENT or name in ("integer", "int", "numeric", "boolean", "bool", "decimal"):
            return
        if name in BOUNDS:
            self._bound(name, argument)
        elif name == "in":
            self._choices(argument)
        elif name == "regex":
            self._regex(argument)
        elif name in PATTERNS:
            self._pattern(PATTERNS[name])
        elif name in ("starts_with", "ends_with"):
            options = "|".join(re.escape(option) for option in argument.split(","))
            self._pattern(f"({options}).*" if name == "starts_with" else f".*({options})")
        else:
            self._report.dropped(self._part, f"the rule {name!r} has no counterpart: the value is not checked for it")

    def _choices(self, argument: str) -> None:
        """`in:a,b`; an empty one among them says that the value may be empty."""
        found = [choice.strip().strip('"') for choice in argument.split(",")]
        if "" in found:
            self.fields["required"] = False
        choices = list(dict.fromkeys(choice for choice in found if choice))
        if choices:
            self.fields |= {"type": "choice", "choices": choices}
        else:
            self._report.dropped(self._part, "the rule `in` names no values")

    def _bound(self, name: str, argument: str) -> None:
        try:
            numbers = [float(number) for number in argument.split(",")]
            low, high = (numbers[0], numbers[1]) if "between" in name else (numbers[0], numbers[0])
        except (ValueError, IndexError):
            self._report.dropped(self._part, f"the rule {name}:{argument[:40]} cannot be read")
            return
        if name.startswith("digits"):
            if not self._numeric:  # digits alone keep their leading zeros: they are text
                self._pattern(rf"\d{{{max(int(low), 0)},{min(max(int(high), 0), 4000)}}}")
                return
            low, high = 10 ** (low - 1) if low > 1 else 0, 10 ** min(high, 15) - 1
        step = (1 if self.fields.get("type") == "integer" else 0) if name in ("gt", "lt") else 0
        low, high = low + step, high - step
        lower, upper = name not in ("max", "lt", "lte"), name not in ("min", "gt", "gte")
        if self._numeric:
            self.fields |= ({"minimum": low} if lower else {}) | ({"maximum": high} if upper else {})
        else:
            least, most = min(max(int(low), 0), 8000), min(max(int(high), 0), 8000)
            self.fields |= ({"min_length": least} if lower else {}) | ({"max_length": most} if upper else {})

    def _regex(self, argument: str) -> None:
        match = re.fullmatch(r"(.)(.*)\1([a-zA-Z]*)", argument.strip(), re.DOTALL)
        if match is None:
            self._report.dropped(self._part, f"the pattern {argument[:80]} has no delimiters: not checked")
            return
        body, flags = match.group(2), match.group(3)
        if match.group(1) == "/":
            body = body.replace("\\/", "/")
        kept = "".join(dict.fromkeys(flag for flag in flags if flag in "imsx"))
        if odd := set(flags) - set("imsxu"):
            self._report.dropped(self._part, f"the flags {''.join(sorted(odd))} of its pattern")
        whole = body.startswith("^") and body.endswith("$") and not body.endswith("\\$") and "|" not in body
        body = body if whole else f"(?s:.*?)(?:{body})(?s:.*)"  # Laravel searches, we match the whole value
        self._pattern(f"(?{kept}){body}" if kept else body)

    def _pattern(self, pattern: str) -> None:
        problem = pattern_fault(pattern) if len(pattern) <= 300 else f"{len(pattern)} characters, at most 300"
        if problem:
            self._report.dropped(self._part, f"its pattern cannot be used ({problem}): not checked")
        elif "pattern" in self.fields:
            self._report.dropped(self._part, f"a second pattern ({pattern[:60]}): one is checked")
        else:
            self.fields["pattern"] = pattern

    def _set_default(self) -> None:
        from shared.templates.models import Variable
        from shared.templates.variables import check

        text = plain(self._raw.get("default_value"))
        if self.fields.get("choices") == ["0", "1"]:
            if text.lower() not in TRUE | FALSE:
                self._report.changed(self._part, f"its default {text[:40]!r} is neither on nor off: off")
            text = "1" if text.lower() in TRUE else "0"
        value: Any = text
        if self._numeric:
            value = number_of(text, whole=self.fields["type"] == "integer")
        if value is None or value == "":
            if not self._numeric and self.fields.get("type", "text") == "text" and not self.fields["required"]:
                self.fields["default"] = ""
            return
        try:
            check(Variable.model_validate(self.fields), value)
        except ValueError as error:
            self._report.changed(
                self._part, f"its default {text[:40]!r} breaks its own rules ({error}): a value must be given"
            )
            self.fields["required"] = True
            return
        self.fields["default"] = value


def number_of(text: str, *, whole: bool) -> int | float | None:
    """A default that should be a number, if it is one."""
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return None


def clean(text: Any) -> str:
    """A description with plain line ends and no control characters."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", str(text or "").replace("\r\n", "\n"))
