"""Draws docs/images/corruptions.png: every corruption of a test card at five severities.

`python -m benchmarks.sheet` draws it again.
"""

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from benchmarks.figure import ROOT
from brinell.evasion.spatial.corruption import CORRUPTIONS, SEVERITIES, corrupt

SIDE, TIMES, LABEL = 32, 2, 96


def card() -> Tensor:
    """A house on a hill under the sun: (1, 3, 32, 32)."""
    scale = 8
    picture = Image.new("RGB", (SIDE * scale, SIDE * scale), (120, 180, 235))
    pen = ImageDraw.Draw(picture)

    def at(*places: float) -> list[float]:
        return [scale * place for place in places]

    pen.ellipse(at(22, 2, 29, 9), fill=(255, 220, 90))
    pen.polygon(at(0, 22, 12, 17, 32, 23, 32, 32, 0, 32), fill=(70, 130, 60))
    pen.rectangle(at(7, 13, 19, 25), fill=(235, 225, 205))
    pen.polygon(at(5, 13, 13, 6, 21, 13), fill=(175, 50, 40))
    pen.rectangle(at(9, 18, 12, 25), fill=(90, 60, 40))
    pen.rectangle(at(14, 16, 17, 19), fill=(60, 90, 130))
    pen.ellipse(at(23, 16, 29, 22), fill=(40, 95, 45))
    pen.rectangle(at(25.5, 21, 26.5, 26), fill=(90, 60, 40))
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    return torch.tensor(list(small.tobytes())).reshape(1, SIDE, SIDE, 3).movedim(-1, 1).float() / 255


def main() -> None:
    x, step = card(), SIDE * TIMES
    height = (len(CORRUPTIONS) + 1) // 2
    sheet = Image.new("RGB", (2 * (LABEL + 6 * (step + 2)), height * (step + 2)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for i, kind in enumerate(CORRUPTIONS):
        left, top = i // height * (LABEL + 6 * (step + 2)), i % height * (step + 2)
        pen.text((left + 4, top + step / 2 - 6), kind, fill=(0, 0, 0))
        for j, image in enumerate([x, *(corrupt(x, kind, severity, seed=1) for severity in SEVERITIES)]):
            large = functional.interpolate(image, scale_factor=TIMES)[0].movedim(0, -1)
            tile = Image.fromarray((large * 255).round().byte().numpy())
            sheet.paste(tile, (left + LABEL + j * (step + 2), top))
    sheet.save(ROOT / "docs" / "images" / "corruptions.png", optimize=True)


if __name__ == "__main__":
    main()
