"""ImageFolder reader: the folder that a picture lies in is its class."""

from pathlib import Path

from dinotune.data.formats.base import SplitPlace, pictures_below
from dinotune.data.formats.class_list.read import read_class_list
from dinotune.data.formats.image_folder.layout import class_folders, stray_pictures
from dinotune.data.formats.labelled_pictures import labelled_pictures
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.data.records import LabelSet, Records


def read_image_folder(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one split; a picture's class is the folder of the split that it lies in, however deep.

    Classes are ordered by name, or matched to `labels` where given; a split may be a list of pictures. Folders that are none of them are left out and go
    into `findings`, as do pictures that cannot be read.
    """
    if place.annotations.is_file():
        return read_class_list(place, name, labels, findings)
    folders = class_folders(place.annotations)
    if not folders:
        raise FileError(Problem(Kind.UNUSABLE_SPLIT, place.annotations, "no folders with pictures, one per class"))
    labels = labels or LabelSet(tuple(path.name for path in folders), tuple(range(1, len(folders) + 1)))
    for path in stray_pictures(place.annotations):
        findings.add(Kind.ORPHAN_PICTURE, path, "lies beside the folders of the classes")
    label_of = {known: label for label, known in enumerate(labels.names)}
    listed: list[tuple[Path, int]] = []
    for folder in folders:
        if folder.name not in label_of:
            findings.add(Kind.UNKNOWN_CLASS, folder, f"no class of {some(labels.names, 10)}")
            continue
        pictures = pictures_below(folder)
        if not pictures:
            findings.add(Kind.UNUSED_CLASS, folder, "no pictures in it")
        listed += [(path, label_of[folder.name]) for path in pictures]
    return Records.from_images(name, labels, labelled_pictures(listed, findings))
