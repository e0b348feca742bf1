"""What a title of Wikipedia is beside a word: a disambiguation suffix, a list, a number, a date.

Rules of form, for the languages whose words are below; a title they don't know is kept.
"""

from __future__ import annotations

import re

_PAIRS = {")": "(", "）": "（"}
#: How titles of list articles begin or end.
_LIST = re.compile(
    r"""(?: (?:lists?|index|outline)\ of | listes?\ (?:de|des|du) | listen?\ (?:der|des|von|vom|over)
      | listas?\ (?:de|del|da|das|do|dos|över|cu) | (?:elenco|list[ae])\ (?:di|dei|delle|degli) | lijst(?:en)?\ van
      | seznam | список | списки | перелік | قائمة | רשימת | لیست | فهرست )\ .*
    | (?:liste\ d['’]|anexo:).*
    | .+(?:列表|一覧|목록|\ listesi|\ listája)""",
    re.VERBOSE | re.IGNORECASE,
)
_MONTHS = frozenset(
    re.findall(
        r"\S+",
        """january february march april may june july august september october november december
        janvier février mars avril mai juin juillet août septembre octobre novembre décembre
        januar februar märz juni juli oktober dezember
        enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
        gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre
        janeiro fevereiro março maio junho julho setembro outubro novembro dezembro
        januari februari maart mei augustus
        stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
        января февраля марта апреля мая июня июля августа сентября октября ноября декабря""",
    )
)
#: Words that make a date of a number, and those that may stand beside it.
_ERAS = frozenset(
    re.findall(
        r"\S+",
        """bc bce ad ce j.-c jc v.chr n.chr chr a.c d.c century centuries siècle siècles jahrhundert siglo secolo século
        eeuw wiek decade millennium année années век год года""",
    )
)
_FILLERS = frozenset(["the", "of", "de", "del", "di", "der", "le", "les", "av", "ap", "v", "n", "г"])
_NUMBER = re.compile(r"\d+(?:[-–]\d+)?(?:s|st|nd|rd|th|er|ère|e|è|ème|º|ª|°|\.)?", re.IGNORECASE)
_DECADE = re.compile(r"\d{3,4}s")
_ROMAN = re.compile(r"[IVX]+(?:e|ème)?")
_CJK_DATE = re.compile(
    r"(?:公元|西元|紀元|기원)?\s?前?\s?\d+\s?(?:年代?|년대?|世紀|世纪|세기)(?:\s?\d+\s?(?:月|월))?(?:\s?\d+\s?(?:日|일))?"
    r"|\d+\s?(?:月|월)(?:\s?\d+\s?(?:日|일))?"
)


def without_suffix(title: str) -> str:
    """``Mercury (planet)`` → ``Mercury``; the title itself where no parentheses end it, or nothing is before them."""
    text = title.rstrip()
    opening = _PAIRS.get(text[-1:])
    if opening is None:
        return title
    closing, depth = text[-1], 0
    for at in range(len(text) - 1, -1, -1):
        depth += (text[at] == closing) - (text[at] == opening)
        if depth == 0:
            return text[:at].rstrip() or title
    return title


def is_list(title: str) -> bool:
    """Whether an article's title says that it is a list: ``List of …``, ``Liste des …``, ``…列表``."""
    return _LIST.fullmatch(title) is not None


def is_number(title: str) -> bool:
    """Digits and signs only: ``1984``, ``3.14``, ``24/7``, ``2001-09-11``."""
    return any(c.isnumeric() for c in title) and not any(c.isalpha() for c in title)


def is_date(title: str) -> bool:
    """A day, month of a year, year with its era, decade or century: ``July 4``, ``1990s``, ``44 BC``, ``1987年``."""
    if _CJK_DATE.fullmatch(title):
        return True
    words = [word for word in re.split(r"[\s,_/]+", title) if word]
    plain = [word.lower().rstrip(".") for word in words]
    numbers = [bool(_NUMBER.fullmatch(word)) for word in words]
    eras = any(word in _ERAS for word in plain)
    if eras:
        numbers = [n or bool(_ROMAN.fullmatch(word)) for n, word in zip(numbers, words, strict=True)]
    # Mars 2020 is a spacecraft.
    months = any(word in _MONTHS for word in plain) and plain[0] != "mars"
    if not any(numbers) or not (eras or months or any(_DECADE.fullmatch(word) for word in plain)):
        return False
    return all(n or word in _MONTHS | _ERAS | _FILLERS for n, word in zip(numbers, plain, strict=True))
