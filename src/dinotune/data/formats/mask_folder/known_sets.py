"""Classes of data sets that come without a file of them: Pascal VOC and Cityscapes; and Pascal VOC's palette."""

VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOC_BORDER = 255
"""Value of pixels between objects and of those too hard to label."""

CITYSCAPES_NAMES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""The 19 label ids that count, of 35 (Cordts et al. 2016)."""

CITYSCAPES_IDS = range(-1, 35)


def voc_colour(index: int) -> int:
    """The palette's colour of a value as R * 65536 + G * 256 + B.

    Bits 0, 1 and 2 of the value are the highest bits of red, green and blue, bits 3 to 5 the next highest, and so on.
    """
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    red, green, blue = channels
    return red * 65536 + green * 256 + blue
