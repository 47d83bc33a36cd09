"""Loading mammograms at their stored bit depth, and looking at headers only.

Sizes that a header declares are checked before any memory is set aside for them,
so a damaged file costs an error message and nothing else.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mammocourse.tables import DatasetError, check_file

if TYPE_CHECKING:
    from PIL.Image import Image
    from pydicom.dataset import FileDataset

__all__ = ["ImageHeader", "load_image", "read_header"]

MAX_PIXELS = 100_000_000
"""Largest image that is read. The largest films of CBIS-DDSM have about 40 million pixels."""

MAX_IMAGE_BYTES = 2**30
"""Largest image file that is read, in bytes."""

RASTER = ("JPEG", "PNG", "PPM")
"""Pillow's names of the other formats that are read."""

FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Second bytes of the segments in which a JPEG (0xF7: JPEG-LS) states its size."""

_AGAIN = "Copy or download the file again."


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about its image, without its pixels.

    Attributes
    ----------
    path : Path
        The file.
    rows, columns : int
        Size in pixels.
    bits : int
        Bits allocated per pixel, 8 or 16.
    description, series_uid, patient : str
        DICOM's SeriesDescription, SeriesInstanceUID and PatientID, empty where
        absent (other formats have none).
    laterality, view : str
        ``"LEFT"``/``"RIGHT"`` and ``"CC"``/``"MLO"`` as the header states them,
        empty where it does not. CBIS-DDSM has no ViewPosition: its view stands
        in PatientOrientation.
    """

    path: Path
    rows: int
    columns: int
    bits: int
    description: str = ""
    series_uid: str = ""
    patient: str = ""
    laterality: str = ""
    view: str = ""


def load_image(path: str | Path) -> np.ndarray:
    """Load one grayscale image with the bit depth it is stored in.

    Parameters
    ----------
    path : str or Path
        A DICOM file (``.dcm``), or a JPEG, PNG or PGM file.

    Returns
    -------
    ndarray of shape (rows, columns)
        uint8 or uint16: a 16-bit image is neither rescaled nor shortened. Bright
        is dense tissue; DICOM's MONOCHROME1, in which bright is air, is inverted.

    Raises
    ------
    DatasetError
        If the file is missing, empty, truncated, no grayscale image of 8 or 16
        bits, or declares more than 100 million pixels (checked before any of
        them is decoded).

    Examples
    --------
    >>> load_image("Mass-Test_P_00173_LEFT_CC/.../1-130.dcm").dtype  # doctest: +SKIP
    dtype('uint16')
    """
    path = Path(path).expanduser()
    check_file(path, MAX_IMAGE_BYTES, links=True)
    if path.suffix.lower() == ".dcm":
        dataset = _open_dicom(path, pixels=True)
        pixels = _guarded(path, lambda: _dicom_pixels(path, dataset))
    else:
        pixels = _guarded(path, lambda: _raster_pixels(path))
    return np.array(pixels, dtype=pixels.dtype.newbyteorder("="), order="C")


def read_header(path: Path) -> ImageHeader:
    """Read what an image file says about itself, and check that it ends where it should.

    Parameters
    ----------
    path : Path
        A DICOM, JPEG, PNG or PGM file; no symbolic link.

    Returns
    -------
    ImageHeader
        Size, bit depth, and for DICOM the identity of the image.

    Raises
    ------
    DatasetError
        If the file is missing, empty, truncated, too large or no such image.
    """
    size = check_file(path, MAX_IMAGE_BYTES)
    if path.suffix.lower() == ".dcm":
        dataset = _open_dicom(path, pixels=False)
        return _guarded(path, lambda: _dicom_header(path, dataset, size))
    return _guarded(path, lambda: _raster_header(path))


def _guarded(path: Path, action: Any) -> Any:
    """Run a library's reader; whatever it raises on a damaged file becomes a DatasetError."""
    try:
        return action()
    except DatasetError:
        raise
    except ImportError as error:
        raise DatasetError(
            f"{path} needs a decoder that is missing here ({error}). "
            'Install it with pip install "mammocourse[data]".'
        ) from error
    except Exception as error:  # damaged headers make the libraries raise almost anything
        raise DatasetError(
            f"{path} cannot be decoded: it is truncated or damaged "
            f"({type(error).__name__}: {str(error)[:200]}). {_AGAIN}"
        ) from error


def _check_size(path: Path, rows: int, columns: int) -> None:
    if not (rows > 0 and columns > 0 and rows * columns <= MAX_PIXELS):
        raise DatasetError(
            f"{path} declares {rows:,} x {columns:,} pixels; images have between 1 and "
            f"{MAX_PIXELS:,}. The header is damaged. {_AGAIN}"
        )


# ---------------------------------------------------------------- JPEG, PNG, PGM


def _open_raster(source: Any, path: Path) -> Image:
    from PIL import Image

    image = Image.open(source, formats=RASTER)
    _check_size(path, image.height, image.width)
    return image


def _raster_header(path: Path) -> ImageHeader:
    with path.open("rb") as stream, _open_raster(stream, path) as image:
        bits = 16 if image.mode.startswith("I") else 8
        end = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(image.format or "", b"")
        stream.seek(-min(2**12, path.stat().st_size), io.SEEK_END)  # padding may follow
        if end not in stream.read():
            raise DatasetError(f"{path} is truncated: its end marker is missing. {_AGAIN}")
        return ImageHeader(path, image.height, image.width, bits)


def _raster_pixels(path: Path) -> np.ndarray:
    with _open_raster(path, path) as image:
        if image.mode == "1":
            return np.asarray(image.convert("L"))
        pixels = np.asarray(image)
        if image.mode == "RGB" and (pixels == pixels[..., :1]).all():
            return pixels[..., 0]
        if image.mode == "I" and pixels.min() >= 0 and pixels.max() < 2**16:
            return pixels.astype(np.uint16)
        if image.mode not in ("L", "I;16", "I;16B"):
            raise DatasetError(
                f"{path} has the color mode {image.mode!r}; a mammogram is grayscale of 8 or 16 "
                "bits. It is another kind of picture: copy the original file."
            )
        return pixels


# ------------------------------------------------------------------------- DICOM


def _open_dicom(path: Path, *, pixels: bool) -> FileDataset:
    from pydicom import dcmread
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    def read() -> FileDataset:
        # A mapped file cannot be read past its end, whatever length an element declares.
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            meta = read_file_meta_info(str(path))
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                raise DatasetError(
                    f"{path} is a deflated DICOM file, which is not read (it can unpack to any "
                    "size). Save it uncompressed."
                )
            return dcmread(m, stop_before_pixels=not pixels)  # type: ignore[arg-type]

    dataset = _guarded(path, read)
    _guarded(path, lambda: _check_dicom(path, dataset))
    return dataset


def _check_dicom(path: Path, dataset: FileDataset) -> None:
    _check_size(path, int(dataset.Rows), int(dataset.Columns))
    expected = {
        "SamplesPerPixel": (1,),
        "NumberOfFrames": (1,),
        "BitsAllocated": (8, 16),
        "PixelRepresentation": (0,),
    }
    for name, allowed in expected.items():
        value = int(dataset.get(name) or allowed[0])
        if value not in allowed:
            raise DatasetError(
                f"{path} has {name} {value}; a mammogram has {' or '.join(map(str, allowed))}. "
                f"It is another kind of image or its header is damaged. {_AGAIN}"
            )


def _dicom_header(path: Path, dataset: FileDataset, size: int) -> ImageHeader:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    bits = int(dataset.get("BitsAllocated") or 0)
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        complete = size >= rows * columns * math.ceil(bits / 8)
    else:
        with path.open("rb") as stream:
            stream.seek(-min(2**16, size), io.SEEK_END)
            complete = b"\xfe\xff\xdd\xe0" in stream.read()
    if not complete:
        raise DatasetError(f"{path} is truncated: it holds fewer pixels than declared. {_AGAIN}")

    def text(name: str) -> str:
        value = dataset.get(name)
        return "" if value is None else str(value).strip()

    view = text("ViewPosition").upper() or text("PatientOrientation").upper()
    return ImageHeader(
        path,
        rows,
        columns,
        bits,
        description=text("SeriesDescription"),
        series_uid=text("SeriesInstanceUID"),
        patient=text("PatientID"),
        laterality={"L": "LEFT", "R": "RIGHT"}.get(
            (text("Laterality") or text("ImageLaterality")).upper()[:1], ""
        ),
        view={"ML": "MLO"}.get(view, view) if view in ("CC", "MLO", "ML", "FB") else "",
    )


def _dicom_pixels(path: Path, dataset: FileDataset) -> np.ndarray:
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax != RLELossless:
        _check_codestream(path, dataset)
    pixels = dataset.pixel_array
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = (2 ** int(dataset.BitsStored) - 1 - pixels.astype(np.int64)).astype(pixels.dtype)
    elif dataset.get("PhotometricInterpretation") != "MONOCHROME2":
        raise DatasetError(
            f"{path} has the color model {dataset.get('PhotometricInterpretation')!r}; a mammogram "
            f"has MONOCHROME2 or MONOCHROME1. {_AGAIN}"
        )
    return pixels


def _check_codestream(path: Path, dataset: FileDataset) -> None:
    """Refuse a compressed image whose own size is not the one the header declares."""
    from pydicom.encaps import generate_frames

    rows, columns = _own_size(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if (rows, columns) != (int(dataset.Rows), int(dataset.Columns)):
        raise DatasetError(
            f"{path} declares {dataset.Rows} x {dataset.Columns} pixels and contains "
            f"{rows} x {columns}. {_AGAIN}"
        )


def _own_size(frame: bytes) -> tuple[int, int]:
    """Return the rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream states itself."""
    if not frame.startswith(b"\xff\xd8"):  # JPEG 2000, whose size is in its first segment
        right, bottom, left, top = struct.unpack_from(
            ">4I", frame, frame.index(b"\xff\x4f\xff\x51") + 8
        )
        return bottom - top, right - left
    place = 2
    while frame[place + 1] not in FRAME_MARKERS:
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    rows, columns = struct.unpack_from(">2H", frame, place + 5)
    return rows, columns
