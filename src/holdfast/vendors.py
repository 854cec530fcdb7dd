"""What a vendor's HTTP face is told by the site: whose keys it knows, how fast a client may ask, which faults it has.

A key is 192 random bits, made by `python -m holdfast.vendors`; a site keeps only its SHA-256. Nobody
guesses such a key, so nothing is gained by a slow hash, and every request brings its key anew.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from holdfast.kernel.contracts import Person

if TYPE_CHECKING:
    from holdfast.people import People
    from holdfast.site import Service

VENDORS_APP = "slots"
KEY_CHARACTERS_MAX = 256
CLIENTS_MAX = 10_000

Share = Annotated[float, Meta(ge=0, le=1)]

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_CLIENT = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a vendor fails on purpose. A share is the part of the requests that it befalls, by chance from `seed`.

    `unavailable`: it begins an outage, in which every request is answered 503; of at most
    `unavailable_seconds`. `unprocessed`: 404, and nothing is done. `delayed`: it waits before it is done or
    before it is answered. `reordered`: it is done and answered after one that came later. `lost`: it is done, and
    the connection ends without an answer. Each wait is of at most `delay_seconds`.
    """

    seed: int = 1
    unavailable: Share = 0.0
    unavailable_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 2.0
    unprocessed: Share = 0.0
    delayed: Share = 0.0
    reordered: Share = 0.0
    lost: Share = 0.0
    delay_seconds: Annotated[float, Meta(ge=0, le=600)] = 2.0

    @property
    def longest_delay_seconds(self) -> float:
        """So long after it has come in may a request be done."""
        return self.delay_seconds if self.delayed or self.reordered else 0.0


class VendorSettings(msgspec.Struct, frozen=True):
    """The settings of a service of `slots` that its HTTP face reads; see docs/site.md."""

    keys: Annotated[dict[str, str], Meta(max_length=CLIENTS_MAX)] = {}
    requests_a_second: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    refuse_excess: bool = False
    faults: Faults = Faults()


def settings_of(options: Mapping[str, Any]) -> VendorSettings:
    """Those among a service's options (checked when the site was loaded)."""
    return msgspec.convert(dict(options), VendorSettings)


def key_hash(key: str) -> str:
    """What the site keeps of a key: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def clients_of(settings: VendorSettings, people: People) -> dict[str, Person]:
    """Who asks, by the hash of the key: a person of the site, or one of whom only the id is known."""
    return {hashed: people.get(client) or Person(client) for client, hashed in settings.keys.items()}


def vendor_mistakes(service: Service, services: Mapping[str, Service | None]) -> Iterator[tuple[str, str]]:
    """(setting, why) for each key that cannot be one, or that is used twice in the site."""
    if service.app != VENDORS_APP:
        return
    keys = settings_of(service.options).keys
    if keys and service.is_tentative:
        yield (
            "keys",
            f"what the HTTP API answers is final, which nothing is under {service.protocol} when it is answered",
        )
    for client, hashed in keys.items():
        if not _CLIENT.fullmatch(client):
            yield f"keys.{client}", f"a client's id must match {_CLIENT.pattern}"
        if not _HASH.fullmatch(hashed):
            yield f"keys.{client}", "must be sha256: and 64 digits of 0-9 and a-f, from python -m holdfast.vendors"
        for other in services.values():
            if other is None or other.app != VENDORS_APP:
                continue
            for rival, theirs in settings_of(other.options).keys.items():
                if theirs == hashed and (other.name, rival) < (service.name, client):
                    yield f"keys.{client}", f"is the key of {rival} at {other.name}; each has a key of its own"


def new_key() -> str:
    """A key of 192 random bits."""
    return secrets.token_urlsafe(24)


if __name__ == "__main__":
    fresh = new_key()
    sys.stdout.write(f"key (give it to the client): {fresh}\n")
    sys.stdout.write(f'site.toml, [services.NAME.keys]: CLIENT = "{key_hash(fresh)}"\n')
