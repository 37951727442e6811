"""GPUs that are known here: memory, bandwidth and peak, and which one a driver's name means."""

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A GPU: GiB of memory, GB/s, peak in TFLOPS (dense 16-bit products, sums in float32), and
    whether it computes in bfloat16. One that does not takes float16, which is as large and as fast.
    None: not known."""

    name: str
    memory_gib: float
    bandwidth_gb_s: float | None = None
    tflops: float | None = None
    bfloat16: bool | None = None

    def __post_init__(self) -> None:
        figures = [self.memory_gib]
        if self.speed_is_known:
            figures += [self.bandwidth_gb_s, self.tflops]
        if not all(x is not None and 0 < x < math.inf for x in figures):
            raise ValueError(
                f"memory, bandwidth and peak of a card must be above 0, not those of {self}"
            )

    @property
    def speed_is_known(self) -> bool:
        return (self.bandwidth_gb_s, self.tflops) != (None, None)


# From NVIDIA's data sheets, unless a comment says otherwise. Rates "with sparsity" are halved. The
# sheets of GeForce cards name no rate of 16-bit products with sums in float32. Theirs are from the
# papers on the architectures (Turing, Ampere GA102, Ada, RTX Blackwell). Without a word behind the
# name it is the SXM card, if there is one.
_CARDS = (
    # The sheet says 16 GB; error correction, on by default, takes one.
    Card("T4", 15, 320, tflops=65, bfloat16=False),
    # The peak is on no sheet: 112 tensor cores * 128 FLOP * 1.777 GHz.
    Card("RTX 3060", 12, 360, tflops=25.5, bfloat16=True),
    Card("RTX 4090", 24, 1008, tflops=165.2, bfloat16=True),
    Card("A100 40GB", 40, 1555, tflops=312, bfloat16=True),
    Card("A100 80GB", 80, 2039, tflops=312, bfloat16=True),
    Card("H100", 80, 3350, tflops=989, bfloat16=True),
    Card("A100 40GB PCIe", 40, 1555, tflops=312, bfloat16=True),
    Card("A100 80GB PCIe", 80, 1935, tflops=312, bfloat16=True),
    # As sold in China: the A100's and the H100's figures with slower links between cards.
    Card("H800", 80, 3350, tflops=989, bfloat16=True),
    Card("A800 80GB", 80, 2039, tflops=312, bfloat16=True),
    Card("H100 PCIe", 80, 2000, tflops=756, bfloat16=True),
    Card("H100 NVL", 94, 3900, tflops=835, bfloat16=True),
    Card("H200", 141, 4800, tflops=989, bfloat16=True),
    Card("H200 NVL", 141, 4800, tflops=835, bfloat16=True),
    Card("H20", 96, 4000, tflops=148, bfloat16=True),
    Card("GH200 480GB", 96, 4000, tflops=989, bfloat16=True),
    Card("B200", 180, 8000, tflops=2250, bfloat16=True),
    Card("V100", 16, 900, tflops=125, bfloat16=False),
    Card("V100 PCIe", 16, 900, tflops=112, bfloat16=False),
    Card("V100S PCIe", 32, 1134, tflops=130, bfloat16=False),
    Card("L4", 24, 300, tflops=121, bfloat16=True),
    Card("L40", 48, 864, tflops=181, bfloat16=True),
    Card("L40S", 48, 864, tflops=362, bfloat16=True),
    Card("A10", 24, 600, tflops=125, bfloat16=True),
    # NVIDIA's sheet of the card that Amazon rents out as G5.
    Card("A10G", 24, 600, tflops=70, bfloat16=True),
    Card("A30", 24, 933, tflops=165, bfloat16=True),
    Card("A40", 48, 696, tflops=149.7, bfloat16=True),
    Card("RTX A5000", 24, 768, tflops=111.1, bfloat16=True),
    Card("RTX A6000", 48, 768, tflops=154.8, bfloat16=True),
    # A quarter of the sheet's rate in 8 bits with sparsity.
    Card("RTX 5000 Ada", 32, 576, tflops=261, bfloat16=True),
    Card("RTX 6000 Ada", 48, 960, tflops=364, bfloat16=True),
    # An eighth of the sheet's rate in 4 bits with sparsity.
    Card("RTX PRO 6000 Blackwell", 96, 1792, tflops=500, bfloat16=True),
    Card("RTX 2080 Ti", 11, 616, tflops=53.8, bfloat16=False),
    Card("RTX 3080", 10, 760, tflops=59.5, bfloat16=True),
    Card("RTX 3090", 24, 936, tflops=71, bfloat16=True),
    Card("RTX 3090 Ti", 24, 1008, tflops=80, bfloat16=True),
    Card("RTX 4080", 16, 717, tflops=97.5, bfloat16=True),
    Card("RTX 5080", 16, 960, tflops=112.6, bfloat16=True),
    Card("RTX 5090", 32, 1792, tflops=209.5, bfloat16=True),
)
CARDS = {card.name: card for card in _CARDS}
# Words in a driver's name of a card that say nothing of its speed here.
DECORATION = set("nvidia tesla geforce generation workstation edition".split())
DECORATION |= set("sxm sxm2 sxm3 sxm4 sxm5 sxm6 hbm2 hbm2e hbm3 hbm3e".split())


def known_card(name: str) -> Card | None:
    """The card that a driver calls so, as "NVIDIA A100-SXM4-40GB". Every word must fit: an L40S is
    no L4, and the name of a laptop's chip or of a share of a card (MIG) is not that of the card.
    None if it is not known."""
    # Words that tell the card, without its maker and the kind of its memory.
    words = set(re.findall(r"[a-z0-9.]+", name.lower())) - DECORATION
    # The size can be left out where a card comes in one size.
    needed = {word for word in words if not re.fullmatch(r"\d+gb?", word)}
    return next(
        (card for key, card in CARDS.items() if needed <= set(key.lower().split()) <= words), None
    )
