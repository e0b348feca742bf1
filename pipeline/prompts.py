"""Prompt templates by part of speech and language."""

from __future__ import annotations

from collections.abc import Mapping

from neglabel import UsageError
from neglabel.corpora.candidate import POS


class Prompts:
    """Templates keyed by ``""`` (all words), a part of speech, a language, or ``language:pos``.

    The most exact key wins: ``fr:noun``, then ``fr``, then ``noun``, then ``""``.
    """

    def __init__(self, templates: Mapping[str, str]) -> None:
        """Raises UsageError for a template without exactly one ``{}`` or a key that is nothing of these."""
        for key, template in templates.items():
            check_template(template, f"--prompt {key + '=' if key else ''}{template}")
            language, colon, pos = key.rpartition(":")
            if colon and (pos not in POS or not _is_language(language)):
                raise UsageError(f"--prompt {key}=…: the key is a language and one of {', '.join(POS)}, as `fr:noun`")
            if not colon and key and key not in POS and not _is_language(key):
                raise UsageError(
                    f"--prompt {key}=…: `{key}` is no part of speech ({', '.join(POS)}) and no language code"
                )
        self.templates = dict(templates)

    def of(self, text: str, pos: str = "", language: str = "") -> str:
        """The prompt of a word."""
        for key in (f"{language}:{pos}" if language and pos else "", language, pos, ""):
            if key in self.templates:
                return self.templates[key].replace("{}", text)
        return text


def check_template(template: str, option: str) -> None:
    """Raises UsageError unless ``template`` has exactly one ``{}``."""
    if template.count("{}") != 1:
        raise UsageError(f'{option}: a prompt template needs {{}} once, where the word goes, as in "The nice {{}}."')


def _is_language(key: str) -> bool:
    """A BCP 47 tag by its shape: 2 or 3 letters, then subtags."""
    head, *subtags = key.split("-")
    return 2 <= len(head) <= 3 and head.isascii() and head.isalpha() and all(s.isalnum() for s in subtags)
