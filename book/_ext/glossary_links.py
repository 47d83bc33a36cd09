"""Sphinx extension: a chapter links each term of the glossary where the page first uses it.

Authors write terms as plain words. The role ``term`` is needed only for another form of a word
(``{term}`standardized <standardization>```) and for words of ``ONLY_IN``; it is honored where
it is the first use on the page, and is plain text after that: one link a term and page.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

CHAPTER = re.compile(r"book/(\d\d)_")
GLOSSARY = "book/glossary"

ALSO: dict[str, tuple[str, ...]] = {
    "Activation map": ("feature map",),
    "Chebyshev nodes": ("Chebyshev node",),
    "Convolutional neural network": ("CNN",),
    "Craniocaudal view": ("craniocaudal",),
    "Dense layer": ("fully connected layer",),
    "Likelihood-ratio test": ("likelihood-ratio statistic",),
    "MAD": ("MMAD", "SMAD"),
    "Maximum likelihood estimator": ("maximum likelihood estimate", "maximum likelihood", "MLE"),
    "Mediolateral oblique view": ("mediolateral oblique",),
    "Nearest neighbors": ("nearest neighbor",),
    "Negative predictive value": ("NPV",),
    "Positive predictive value": ("PPV",),
    "Pseudo-R2": ("pseudo-R²",),
    "Region of interest": ("ROI",),
    "Standardization": ("standardized",),
    "Stochastic gradient descent": ("SGD",),
}
"""Other words for a term that the glossary itself names, abbreviations above all."""

ONLY_IN: dict[str, tuple[str, str]] = {
    "Bias": ("02 03 05 07", "the constant of a kernel; the lead-time bias"),
    "Consistency": ("03", "agreement of printed numbers; AUC consistency"),
    "Inflation": ("03", "the factor of dropout"),
    "Margin": ("07 08 09 10 12 13", "the border of an image; the distance from a boundary"),
    "Moments": ("11", "the mean of squares"),
    "Nearest neighbors": ("09 13", "a way to resize an image"),
    "Overlap": ("02 04", "of intervals, windows and outlines"),
    "Pooling": ("04 05 06 10 12", "putting scores of several networks together"),
    "Power": ("12 13", "an exponent; electricity; computing"),
    "Rank": ("02 08", "the place in an order"),
    "Residual": ("02 04 06 08", "the name of ResNet"),
    "Scanner": ("12", "the machine that takes the film"),
    "Score": ("01 02 04 06 08 09 11 13", "to give points"),
    "Separation": ("02 03 04 08", "of training and test data"),
    "Stage": ("09 10 12", "a step of diagnosis"),
}
"""Terms that are common words too: the chapters where the word always has the glossary's sense
(elsewhere only the role ``term`` links it), and the other sense."""

NO_PROSE = (
    nodes.title, nodes.rubric, nodes.caption, nodes.legend, nodes.table, nodes.literal,
    nodes.literal_block, nodes.math, nodes.math_block, nodes.reference, nodes.raw, nodes.comment,
    nodes.image, addnodes.pending_xref,
)  # fmt: skip
"""What no link is put into: headings, captions, tables, code, formulas and links."""


def forms(term: str) -> str:
    """Return a regular expression for a term, its plural, and the other words for it.

    Parameters
    ----------
    term : str
        A term as the glossary has it. With two capitals in a word ("AUC") case matters,
        otherwise it does not.

    Returns
    -------
    str
        To be used without ``re.IGNORECASE``.
    """
    found = []
    for text in (term, *ALSO.get(term, ())):
        words = re.escape(text).replace(r"\ ", r"\s+").replace("'", "['’]")
        if text.endswith("y"):
            words = f"{words[:-1]}(?:y|ies)"
        elif text.endswith("is"):
            words = f"{words[:-2]}(?:is|es)"
        elif not text.endswith("s"):
            words += "(?:e?s)?"
        found.append(words if re.search("[A-Z].*[A-Z]", text) else f"(?i:{words})")
    return "|".join(found)


def pattern(terms: list[str]) -> re.Pattern[str]:
    """Return an expression that finds any of the terms, the longest first, as whole words."""
    longest_first = sorted(terms, key=lambda term: (-len(term), term))
    groups = "|".join(f"(?P<t{terms.index(term)}>{forms(term)})" for term in longest_first)
    return re.compile(rf"(?<![\w-])(?:{groups})(?![\w-])")


def terms_for(number: str, glossary: list[str]) -> list[str]:
    """Return the terms that a chapter, named by its two digits, links by itself."""
    return [term for term in glossary if term not in ONLY_IN or number in ONLY_IN[term][0].split()]


class LinkFirstUse(SphinxPostTransform):
    """Turn the first use of each term into a reference, before references are resolved."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Go through the page from top to bottom."""
        match = CHAPTER.match(self.env.docname)
        if match is None:
            return
        objects = self.env.get_domain("std").get_objects()
        glossary = sorted(item[0] for item in objects if item[2] == "term")
        self.terms = terms_for(match[1], glossary)
        self.pattern = pattern(self.terms)
        self.linked: set[str] = set()
        self.walk(self.document)

    def walk(self, node: nodes.Element, prose: bool = True) -> None:
        """Link within a node; references that authors made count, and repeated ones go."""
        children: list[nodes.Node] = []
        for child in _joined(node.children):
            if isinstance(child, nodes.Text):
                children += self.link(child.astext()) if prose else [child]
            elif isinstance(child, addnodes.pending_xref) and child["reftype"] == "term":
                target = child["reftarget"].casefold()
                children.append(nodes.Text(child.astext()) if target in self.linked else child)
                self.linked.add(target)
            else:
                if isinstance(child, nodes.Element):
                    is_code = child.get("nb_element") == "cell_code"
                    self.walk(child, prose and not is_code and not isinstance(child, NO_PROSE))
                children.append(child)
        node.children = []
        node.extend(children)

    def link(self, text: str) -> list[nodes.Node]:
        """Return a text with references in place of the first uses."""
        found: list[nodes.Node] = []
        end = 0
        for match in self.pattern.finditer(text):
            term = self.terms[int(str(match.lastgroup)[1:])]
            if term.casefold() in self.linked:
                continue
            self.linked.add(term.casefold())
            found += [nodes.Text(text[end : match.start()]), self.reference(term, match[0])]
            end = match.end()
        return [*found, nodes.Text(text[end:])]

    def reference(self, term: str, text: str) -> addnodes.pending_xref:
        """Return what the role ``term`` would make of a term with a text of its own."""
        return addnodes.pending_xref(
            "",
            nodes.inline("", text, classes=["xref", "std", "std-term"]),
            refdomain="std",
            reftype="term",
            reftarget=term,
            refdoc=self.env.docname,
            refexplicit=True,
            refwarn=True,
        )


def _joined(children: list[nodes.Node]) -> list[nodes.Node]:
    """Make one text of those that follow each other: a term may go on in the next line."""
    found: list[nodes.Node] = []
    for child in children:
        if found and isinstance(child, nodes.Text) and isinstance(found[-1], nodes.Text):
            found[-1] = nodes.Text(found[-1].astext() + child.astext())
        else:
            found.append(child)
    return found


def read_again(
    app: Sphinx, env: Any, added: set[str], changed: set[str], removed: Any
) -> list[str]:
    """Let all chapters follow a change of the glossary."""
    if GLOSSARY not in added | changed:
        return []
    return [name for name in env.all_docs if CHAPTER.match(name)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything; pages are written again when the rules above change."""
    app.add_config_value("glossary_links_rules", repr((ALSO, ONLY_IN)), "html")
    app.add_post_transform(LinkFirstUse)
    app.connect("env-get-outdated", read_again)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
