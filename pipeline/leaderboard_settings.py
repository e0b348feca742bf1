"""Settings of the leaderboard."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from neglabel.pipeline.option_types import Convention, Location, Many, StageSettings


class LeaderboardSettings(StageSettings):
    """Finished reports and scores → one page of all methods and runs, to sort and filter."""

    argument = "runs"
    runs: Annotated[tuple[Location, ...], Many] = Field(description="folders of `report` or `score`")
    out: Location = Field(description="folder of the page")
    title: str = Field("neglabel leaderboard", description="heading of the page")
    fpr: Convention = Field(
        "id-positive",
        description="FPR95 of folders of `score`, as in `report`: id-positive, ood-positive or nearest-recall; "
        "a report's figures stay as they are",
    )
    bootstrap: int = Field(
        1_000, ge=0, le=100_000, description="times the pictures of folders of `score` are drawn again; 0: no intervals"
    )
    seed: int = Field(0, ge=0, description="of that drawing")
