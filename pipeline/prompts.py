"""Prompt templates by part of speech and language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from neglabel import UsageError
from neglabel.corpora.candidate import POS
from neglabel.corpora.languages import bcp47


class Prompts:
    """Templates keyed by ``""`` (all words), a part of speech, a language, or ``language:pos``.

    The most exact key wins: ``fr:noun``, then ``fr``, then ``noun``, then ``""``. A language is looked up as BCP 47
    tags are (RFC 4647, 3.4): whatever its case, and without its last subtag where there is nothing for it:
    ``zh-Hant-TW``, then ``zh-Hant``, then ``zh``. ISO 639-3 means the same as BCP 47 (``fra`` is ``fr``).
    """

    def __init__(self, templates: Mapping[str, str]) -> None:
        """Raises UsageError for a template without exactly one ``{}`` (or one in each alternative), a key that is
        nothing of these, or two alike."""
        self._by_key: dict[tuple[str, str], str] = {}
        written: dict[tuple[str, str], str] = {}
        for key, template in templates.items():
            check_template(template, f"--prompt {key + '=' if key else ''}{template}")
            language, colon, pos = key.rpartition(":")
            if colon and (pos not in POS or not _is_language(language)):
                raise UsageError(f"--prompt {key}=…: the key is a language and one of {', '.join(POS)}, as `fr:noun`")
            if not colon and pos not in ("", *POS):
                language, pos = key, ""
                if not _is_language(key):
                    raise UsageError(
                        f"--prompt {key}=…: `{key}` is no part of speech ({', '.join(POS)}) and no language code"
                    )
            found = _tag(language), pos
            if found in written:
                raise UsageError(f"--prompt {key}=…: the same words as `{written[found]}`; give one of the two")
            written[found] = key
            self._by_key[found] = template
        self.templates = dict(templates)
        #: No word has more than one prompt.
        self.single = all(len(alternatives(template)) == 1 for template in templates.values())
        #: Templates found before: a corpus has few languages and many words.
        self._found: dict[tuple[str, str], tuple[str, ...]] = {}

    def of(self, text: str, pos: str = "", language: str = "") -> str:
        """The prompt of a word, of several the longest; the word itself where no template is for it."""
        return self._templates(pos, language)[0].replace("{}", text)

    def each(self, text: str, pos: str = "", language: str = "") -> list[str]:
        """All prompts of a word, the longest first: one, or more where its template has alternatives."""
        return [template.replace("{}", text) for template in self._templates(pos, language)]

    def _templates(self, pos: str, language: str) -> tuple[str, ...]:
        found = self._found.get((language, pos))
        if found is None:
            parts = sorted(alternatives(self._template(pos, language)), key=len, reverse=True)
            found = self._found[language, pos] = tuple(parts)
        return found

    def _template(self, pos: str, language: str) -> str:
        keys = [(tag, part) for tag in _ranges(language) for part in (pos, "") if tag]
        for key in (*keys, ("", pos), ("", "")):
            if key in self._by_key:
                return self._by_key[key]
        return "{}"


def alternatives(template: str) -> tuple[str, ...]:
    """``a {}|the {}`` → its parts, of which each has a place for the word; any other template is one part.

    A word's embedding is then the mean of its prompts' embeddings as the tower makes them, before any is normalised
    (CSP's ensemble), at length 1.
    """
    parts = tuple(template.split("|"))
    return parts if len(parts) > 1 and all(part.count("{}") == 1 for part in parts) else (template,)


def check_template(template: str, option: str) -> None:
    """Raises UsageError unless ``template`` has exactly one ``{}``, or alternatives with one each."""
    if any(part.count("{}") != 1 for part in alternatives(template)):
        raise UsageError(f'{option}: a prompt template needs {{}} once, where the word goes, as in "The nice {{}}."')


def _tag(language: str) -> str:
    """A tag as it is compared: lower case, underscores as hyphens, its language in BCP 47."""
    head, hyphen, rest = language.lower().replace("_", "-").partition("-")
    return bcp47(head).lower() + hyphen + rest


def _ranges(language: str) -> Iterator[str]:
    """A tag and what it falls back to: ``zh-hant-tw``, ``zh-hant``, ``zh``. A lone letter goes with what follows it."""
    subtags = _tag(language).split("-")
    while subtags:
        yield "-".join(subtags)
        subtags.pop()
        if subtags and len(subtags[-1]) == 1:
            subtags.pop()


def _is_language(key: str) -> bool:
    """A BCP 47 tag by its shape: 2 or 3 letters, then subtags."""
    head, *subtags = key.replace("_", "-").split("-")
    return (
        2 <= len(head) <= 3 and head.isascii() and head.isalpha() and all(s.isascii() and s.isalnum() for s in subtags)
    )
