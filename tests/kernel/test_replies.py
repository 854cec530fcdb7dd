"""Every answer that there is can be put in words: the base of replies is not abstract, so nothing else would tell."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import holdfast
from holdfast.kernel.contracts import Reply


def wordless(base: type[Reply] = Reply) -> Iterator[type[Reply]]:
    """The replies that nothing is derived from and that have no words."""
    for reply in base.__subclasses__():
        if reply.__subclasses__():
            yield from wordless(reply)
        elif reply.text is Reply.text:
            yield reply


def test_every_reply_has_words() -> None:
    for package in ("apps", "kernel", "replication"):
        for module in pkgutil.walk_packages([f"{holdfast.__path__[0]}/{package}"], f"holdfast.{package}."):
            importlib.import_module(module.name)
    assert len(Reply.__subclasses__()) > 20
    assert not [reply for reply in wordless() if reply.__module__.startswith("holdfast.")]


def test_a_reply_without_words_would_be_found() -> None:
    class Speechless(Reply, frozen=True, tag="speechless"):
        """Has nothing to say."""

    assert Speechless in list(wordless())
