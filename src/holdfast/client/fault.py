"""`holdfast fault` and `holdfast trust`: make a replica wrong, slow or dead, to see that it is found out and
replaced; and say which one is right, where too many have failed to find out."""

from __future__ import annotations

from holdfast.client.addresses import Addresses
from holdfast.client.errors import Misuse
from holdfast.client.site import Options, Site
from holdfast.client.speak import Speaker, say


def plant(node: str, kind: str, *, service: str, site: str, as_json: bool, options: Options) -> int:
    """Plant a fault in the replica of one node; the exit status."""
    return _say(node, ["fault", kind], service=service, site=site, as_json=as_json, options=options)


def trust(node: str, *, service: str, site: str, as_json: bool, options: Options) -> int:
    """Say, to its own node, that the replica of one node is right; the exit status."""
    return _say(node, ["trust", node], service=service, site=site, as_json=as_json, options=options)


def _say(node: str, words: list[str], *, service: str, site: str, as_json: bool, options: Options) -> int:
    addresses = Addresses.of_site(site)
    given: Options = {"on_note": say}
    given.update(options)
    given["at"] = node
    name = service or _only(addresses)
    addresses.servers_at(name, node)
    speaker = Speaker(Site.at(addresses, **given), name, as_json=as_json)
    try:
        return speaker.once(words, "")
    finally:
        speaker.close()


def _only(addresses: Addresses) -> str:
    """The one service whose replicas are voted on. Raises `Misuse` where there is none, or several."""
    found = addresses.voting
    if len(found) != 1:
        known = f"of {', '.join(found)} say which with --service" if found else "no service here has replicas that vote"
        raise Misuse(f"fault and trust are for services under the protocol sequencer: {known}")
    return found[0]
