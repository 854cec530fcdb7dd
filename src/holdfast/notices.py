"""Which service delivers the notices of the others, and which nodes carry them there (see `kernel.forwarding`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from holdfast.catalog import APPS
from holdfast.settings import similar

if TYPE_CHECKING:
    from holdfast.site import Service


def delivering_service(chosen: str | None, services: Mapping[str, Service | None]) -> str:
    """The service that delivers notices, "" for none. `chosen`: the site's setting, None where it has none: then it
    is the only one that can."""
    able = _able(services)
    return chosen if chosen is not None else able[0] if len(able) == 1 else ""


def notice_mistakes(chosen: str | None, services: Mapping[str, Service | None]) -> Iterator[str]:
    """What is wrong with the setting."""
    able = _able(services)
    if chosen is None and len(able) > 1:
        yield f'say which of {", ".join(able)} delivers the notices of the others, or "" for none'
    if not chosen:
        return
    if chosen not in services:
        yield f"there is no service {chosen!r}{similar(chosen, services)}"
    elif (service := services[chosen]) is not None and not APPS[service.app].delivers:
        apps = ", ".join(name for name, entry in APPS.items() if entry.delivers)
        yield f"{chosen} is of the app {service.app}, which delivers no notices; of these it could be: {apps}"


def _able(services: Mapping[str, Service | None]) -> list[str]:
    return [name for name, service in services.items() if service is not None and APPS[service.app].delivers]


def carriers(service: Service) -> tuple[str, ...]:
    """The nodes that may carry a service's notices, in the order of their turns: it must take requests there. Those
    that have no state of it come last, for they must ask for what there is to carry."""
    holders = service.holders
    return tuple(sorted(service.front_nodes, key=lambda node: node not in holders))


def partners(node: str, delivering: str, services: Mapping[str, Service]) -> tuple[str, ...]:
    """The other nodes to which this one brings notices, or that bring some here."""
    if not delivering:
        return ()
    receivers = services[delivering].front_nodes
    sources = [carriers(service) for name, service in services.items() if name != delivering]
    found = dict.fromkeys(receivers) if any(node in source for source in sources) else {}
    if node in receivers:
        found |= dict.fromkeys(other for source in sources for other in source)
    return tuple(other for other in found if other != node)
