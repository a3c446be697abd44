"""Which calibrator is to judge: what can be chosen beside the bundle's own, and taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from app.core.calibration.calibrator import Calibrator
from app.core.errors import CalibratorShelfError


class Choice(BaseModel):
    """What is to be served; ``None`` in the place of an id is the bundle's own calibrator.

    Attributes:
        version: Of this form.
        bundle_calibrator: Id of the bundle's own calibrator when the choice was made: with another
            bundle it does not hold.
        active: Id of what states probabilities.
        shadow: Id of what is recorded beside it; ``None`` for nothing.
        replaced: Id of what was active just before.
        history: What a rollback goes back to, latest last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    bundle_calibrator: str | None = None
    active: str | None = None
    shadow: str | None = None
    replaced: str | None = None
    history: tuple[str | None, ...] = ()

    def promoted(self, calibrator: str) -> Self:
        """Return the choice with another active calibrator, which is no shadow any more.

        Raises:
            CalibratorShelfError: It is active already.
        """
        wanted = None if calibrator == self.bundle_calibrator else calibrator
        if wanted == self.active:
            raise CalibratorShelfError(f"The calibrator {calibrator} is active already.")
        return self._with(wanted, history=(*self.history, self.active))

    def rolled_back(self) -> Self:
        """Return the choice without the last promotion.

        Raises:
            CalibratorShelfError: There is none to undo.
        """
        if not self.history:
            raise CalibratorShelfError("Nothing was promoted, so there is nothing to undo.")
        return self._with(self.history[-1], history=self.history[:-1])

    def shadowed(self, calibrator: str | None) -> Self:
        """Return the choice with another shadow; ``None`` for none.

        Raises:
            CalibratorShelfError: It is the active one, whose statements would count twice.
        """
        if calibrator is not None and calibrator == (self.active or self.bundle_calibrator):
            raise CalibratorShelfError(
                f"The calibrator {calibrator} is active: a shadow is another one beside it."
            )
        return self.model_copy(update={"shadow": calibrator})

    def _with(self, active: str | None, *, history: tuple[str | None, ...]) -> Self:
        is_shadow = self.shadow == (active or self.bundle_calibrator)
        return self.model_copy(
            update={
                "active": active,
                "replaced": self.active,
                "shadow": None if is_shadow else self.shadow,
                "history": history,
            }
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a choice comes to with a bundle.

    Attributes:
        active: States probabilities.
        shadow: Only recorded.
        previous: Id of what was active just before.
        is_void: Whether the choice was made for another bundle, so that it was left aside.
    """

    active: Calibrator | None
    shadow: Calibrator | None = None
    previous: str | None = None
    is_void: bool = False
