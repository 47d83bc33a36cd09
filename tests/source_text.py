"""The numbers of the two source documents, by the place where they stand.

The documents are plain text: the thesis as Markdown with tab-separated tables, the AUC
paper as running text. Nothing of them is kept here. A place is a section ("3.2.1"), a
caption ("Fig. 5"), a table with its caption ("Table 2") or the abstract.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Found = tuple[str, str]  # a place and a number as it is written there

# What is no number of the text: links, citations, references to places, names with digits.
_NO_NUMBERS = [
    r"https?://\S+",
    r"\(#[^)]*\)",
    r"\[[A-Z][^\]]*\d\d[^\]]*\]",  # [DCB16]
    # the year of a citation
    r"(?<=[a-z.] )(?:19|20)\d\d(?=\s*[\];)])|\((?:19|20)\d\d\\?\)|(?<=\\\()(?:19|20)\d\d",
    r"\b(?:Eqs?|Figs?|Figures?|Tables?|Sections?)\.?\s*\(?\d+[a-z]?(?:\.\d+)*\)?"
    r"(?:\)? (?:through|and) \(?\d+[a-z]?\)?)?",
    r"\(\d+[a-z]?\)(?= through)|\b(?:and|through) \(?\d+[a-z]\)",
    r"\b[01](?:-|'s|’s)|\b[YC] ?= ?[012]\b|\{0, 1\}",  # the classes
    r"ResNet-?50|\b[A-Za-z]+-\d+-\w*",
]


def _plain(text: str) -> str:
    """Write formulas in a line so that their constants can be read."""
    text = re.sub(r"</?(?:b|i|u)>|\*\*", "", text)
    text = re.sub(r"<sup>(.*?)</sup>", r"^{\1}", text)
    text = re.sub(r"\\text\{[^}]*\}|\\mathbb\{\w\}\^?\w?", " ", text)
    text = re.sub(r"(\d[\d.]*)\s*(?:\\cdot|·)\s*10\s*\^\{(-?\d+)\}", r"\1e\2", text)
    text = re.sub(r"\b10\s*\^\{(-?\d+)\}", r"1e\1", text)
    text = re.sub(r"(?<=[A-Za-z\\|}])_\{[^}]*\}|(?<=[A-Za-z\\|}])_\w", " ", text)  # indices
    text = re.sub(r"[\^]\{?-?\w+\}?", " ", text)  # exponents
    text = re.sub(r"(?<=\d)\s?[Kk](?=[×\s,])", "000", text)
    for pattern in _NO_NUMBERS:
        text = re.sub(pattern, " ", text)
    return text


def numbers(text: str) -> list[str]:
    """Return the numbers of a text as they are written, thousands without their commas."""
    found = re.findall(
        r"(?<![\w.])\d{1,3}(?:,\d{3})+(?!\d)|(?<![\w.,])\.?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w])"
        r"|(?<![\w.,])\d+(?:\.\d+)?(?=GB)",
        _plain(text),
    )
    return [item.replace(",", "") for item in found]


def _thesis(text: str) -> Iterator[Found]:
    """Yield the numbers of the thesis: without contents, references and set-off equations."""
    text = re.sub(r"^# Contents$.*?(?=^# 1 )", "", text, flags=re.M | re.S)
    text = re.sub(r"^## References$.*?(?=^## A )", "", text, flags=re.M | re.S)
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.S)
    place, rows = "front", []
    for line in text.splitlines():
        heading = re.match(r"#+ (?:(\d(?:\.\d+)*|[AB])\.? )?(.*)", line)
        caption = re.match(r"(Figure|Table) (\d+): (.*)", line)
        if heading:
            number = heading[1] or ("Abstract" if heading[2] == "Abstract" else place)
            place = f"App. {number}" if number in ("A", "B") else number
            place = "Data" if heading[2].startswith("Data &") else place
        elif caption:
            where = f"{caption[1].replace('Figure', 'Fig.')} {caption[2]}"
            if caption[1] == "Table":
                for row in rows:
                    yield from ((where, number) for number in numbers(row))
                rows = []
            yield from ((where, number) for number in numbers(caption[3]))
        elif "\t" in line:
            rows.append(line)
        else:
            yield from ((place, number) for number in numbers(re.sub(r"^\d+\. ", "", line)))


def _auc_paper(text: str) -> Iterator[Found]:
    """Yield the numbers of the AUC paper."""
    place = "Abstract"
    text = re.sub(r"-\n(?=[a-z])", "", text)
    table = re.search(r"Table 1: .*?0\.767\n", text, flags=re.S)
    if table:
        yield from (("Table 1", number) for number in numbers(table[0][len("Table 1") :]))
        text = text.replace(table[0], "")
    for block in re.split(r"\n\s*\n", text):
        heading = re.fullmatch(r"\s*(\d)\. ([A-Z][^.\n]{3,70})", block)
        caption = re.match(r"\s*Figure (\d): ", block)
        if heading:
            place = heading[1]
            continue
        body = re.sub(r"^\s*\d\. (?=[A-Z])", "", block, flags=re.M)
        where = f"Fig. {caption[1]}" if caption else place
        yield from ((where, number) for number in numbers(body[caption.end() if caption else 0 :]))


def read_source(name: str, text: str) -> list[Found]:
    """Return places and numbers of a source document ("thesis" or "auc-paper")."""
    return list({"thesis": _thesis, "auc-paper": _auc_paper}[name](text))
