"""Codes of languages: ISO 639-3 as wordnets use them, and Wikipedia's own, to BCP 47."""

from __future__ import annotations

import re

#: ISO 639-3 → the code that BCP 47 asks for (the shortest there is). Codes that aren't here stay as they are.
BCP47 = {
    "afr": "af", "als": "sq", "amh": "am", "arb": "ar", "asm": "as", "aze": "az", "bel": "be", "ben": "bn", "bos": "bs",
    "bul": "bg", "cat": "ca", "ces": "cs", "cmn": "zh", "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "eng": "en",
    "epo": "eo", "est": "et", "eus": "eu", "fas": "fa", "fin": "fi", "fra": "fr", "gla": "gd", "gle": "ga", "glg": "gl",
    "guj": "gu", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy", "ind": "id", "isl": "is", "ita": "it",
    "jpn": "ja", "kan": "kn", "kat": "ka", "kaz": "kk", "khm": "km", "kor": "ko", "kur": "ku", "lat": "la", "lav": "lv",
    "lit": "lt", "mal": "ml", "mar": "mr", "mkd": "mk", "mlt": "mt", "mon": "mn", "msa": "ms", "mya": "my", "nep": "ne",
    "nld": "nl", "nno": "nn", "nob": "nb", "nor": "no", "ori": "or", "pan": "pa", "pes": "fa", "pol": "pl", "por": "pt",
    "qcn": "zh-TW", "ron": "ro", "rus": "ru", "san": "sa", "sin": "si", "slk": "sk", "slv": "sl", "spa": "es",
    "sqi": "sq", "srp": "sr", "swe": "sv", "tam": "ta", "tel": "te", "tgl": "tl", "tha": "th", "tur": "tr", "ukr": "uk",
    "urd": "ur", "vie": "vi", "zho": "zh", "zsm": "ms",
}  # fmt: skip
#: Codes by which Wikipedia names an edition and which mean something else, or nothing, in BCP 47.
WIKIPEDIA = {
    "als": "gsw", "bat_smg": "sgs", "be_x_old": "be-tarask", "cbk_zam": "cbk", "eml": "egl", "fiu_vro": "vro",
    "map_bms": "jv", "mo": "ro", "nds_nl": "nds-NL", "no": "nb", "roa_rup": "rup", "roa_tara": "nap",
    "simple": "en", "zh_classical": "lzh", "zh_min_nan": "nan", "zh_yue": "yue",
}  # fmt: skip


def bcp47(code: str) -> str:
    """ISO 639-3 → BCP 47."""
    return BCP47.get(code, code)


def of_wikipedia(edition: str) -> str:
    """The code of a Wikipedia edition (``fr``, ``zh_yue``, ``zh-yue``) → BCP 47."""
    return WIKIPEDIA.get(edition.replace("-", "_"), edition.replace("_", "-"))


def of_dump(name: str) -> str:
    """The language that the name of a dump file says (``frwiki-20240101-page.sql.gz``); empty where it says none."""
    found = re.match(r"((?:[a-z]{2,3}|simple)(?:_[a-z]+)*)wiki-", name)
    return of_wikipedia(found[1]) if found else ""
