"""What callers wish of a template: which one, with which values and resources; checked against what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.platform.ids import OrgId
from shared.servers.errors import TemplateIsDraft
from shared.servers.sealing import make_secret
from shared.templates.errors import VariablesInvalid
from shared.templates.models import Resources, Scalar, Template
from shared.templates.rendering import resource_faults
from shared.templates.service import Found, Templates
from shared.templates.variables import resolve


@dataclass(frozen=True, slots=True)
class Values:
    """A server's variables: those that are kept as they are, and those that are sealed; `hidden` are listed to nobody."""

    plain: dict[str, Scalar]
    secret: dict[str, Scalar]
    hidden: tuple[str, ...] = ()

    def kept(self, sealed: str) -> dict[str, Any]:
        """Their part of a server's `spec`."""
        return {
            "variables": self.plain,
            "sealed": sealed,
            "secret_names": sorted(self.secret),
            "hidden_names": list(self.hidden),
        }


async def complete_template(templates: Templates, org: OrgId, ref: str, version: int | None) -> Found:
    """A template that servers can be made of.

    Raises:
        TemplateNotFound, TemplateIsDraft: as their names say.
    """
    found = await templates.find(org, ref, version)
    if found.template.draft:
        raise TemplateIsDraft(f"complete it first: {', '.join(found.template.draft)}")
    return found


def resources_for(template: Template, given: Resources | None) -> Resources:
    """The resources that were given, or else the template's.

    Raises:
        VariablesInvalid: less than the template's least.
    """
    resources = given or template.resources
    faults = resource_faults(template, resources)
    if faults:
        raise VariablesInvalid(faults)
    return resources


def values_for(template: Template, given: Mapping[str, Any], changed: Mapping[str, Any] | None = None) -> Values:
    """All values: those given, defaults, generated secrets. `changed` are those that the caller touches, if not all.

    Raises:
        VariablesInvalid: with every one that does not do.
    """
    locked = frozenset(each.name for each in template.variables if not each.editable)
    touched = given if changed is None else changed
    values = resolve(template, given, generate=make_secret, locked=frozenset(locked & touched.keys()))
    secret = {each.name for each in template.variables if each.secret}
    return Values(
        {name: value for name, value in values.items() if name not in secret},
        {name: value for name, value in values.items() if name in secret},
        tuple(each.name for each in template.variables if not each.visible),
    )
