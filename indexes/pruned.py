"""The fast path of mining on a CPU: which candidates of a block can still be among the best, by one count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.cosines import Block, LabelProducts


def can_reach(block: Block, bound: NDArray[np.float64], products: LabelProducts) -> NDArray[np.intp]:
    """Rows of a block whose exact distance can be ``bound`` (n,) or more; all others' is surely below.

    With x the ascending distances, d <= x[high]. Where more than ``high`` = ⌈η(K-1)⌉ float32 cosines are above
    -(bound - g), so many exact ones are above -bound: x[high] < bound. It holds for any η, from either end.
    """
    return np.flatnonzero(block.above(products.guard - bound) <= products.order.high)
