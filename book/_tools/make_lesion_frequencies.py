"""Make ``data/lesion_frequencies.csv`` from the official mass tables of CBIS-DDSM.

Usage: ``python book/_tools/make_lesion_frequencies.py FOLDER [OUTPUT]``, where FOLDER
holds ``mass_case_description_train_set.csv`` and ``mass_case_description_test_set.csv``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

COLUMNS = [
    *("pathology", "mass_shape", "mass_margins", "assessment", "breast_density", "subtlety"),
]


def count_words(folder: Path) -> pd.DataFrame:
    """Count each combination of the words in the rows of both tables.

    Parameters
    ----------
    folder : Path
        The folder of the two tables.

    Returns
    -------
    DataFrame
        The columns of ``COLUMNS`` and ``count``, sorted; no patient, no path.
    """
    tables = [
        pd.read_csv(folder / f"mass_case_description_{split}_set.csv", keep_default_na=False)
        for split in ("train", "test")
    ]
    rows = pd.concat(tables).rename(columns=lambda name: name.replace(" ", "_"))
    return rows.groupby(COLUMNS).size().rename("count").reset_index()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    default = Path(__file__).resolve().parents[2] / "data" / "lesion_frequencies.csv"
    output = Path(sys.argv[2]) if len(sys.argv) == 3 else default
    counts = count_words(Path(sys.argv[1]))
    counts.to_csv(output, index=False, lineterminator="\n")
    print(f"{len(counts)} combinations, {counts['count'].sum()} rows")
