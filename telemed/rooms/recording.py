"""When a room may be recorded: only while everyone present has consented. Decides; writes nothing."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

State = Literal["off", "asking", "on", "paused"]
# Room, state, and who of those present consented when (seconds since 1970); called on the way to and from "on".
Hook = Callable[[str, State, Mapping[str, float]], None]
ANSWER_SECONDS = 120.0


class Recording:
    """off -> asking -> on <-> paused -> off. `present`: ids of those whose consent is needed, now.

    `changed(reason)` is called after each change; on the way to `on` the hook comes first, and one that raises ends it with `failed`.
    """

    def __init__(
        self,
        changed: Callable[[str], None],
        hook: Callable[[State, Mapping[str, float]], None],
        now: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        self.state: State = "off"
        self.by: str | None = None
        self.asked: list[str] = []
        self.consented: dict[str, float] = {}  # when, seconds since 1970
        self.refused: list[str] = []
        self._changed, self._hook, self._now, self._ticks = changed, hook, now, ticks
        self._until = 0.0

    def ask(self, by: str, present: list[str]) -> bool:
        """Asks everyone; the asker consents by it. False when something is on already."""
        if self.state != "off":
            return False
        self.state, self.by, self.asked, self.refused = "asking", by, list(present), []
        self.consented = {by: self._now()}
        self._until = self._ticks() + ANSWER_SECONDS
        if not self._settle("consented"):
            self._changed("asked")
        return True

    def stop(self, reason: str = "stopped") -> bool:
        """False when nothing was on."""
        if self.state == "off":
            return False
        told = self.state != "asking"
        self.state, self.asked = "off", []
        self.consented.clear()
        if told:
            self._call("off")
        self._changed(reason)
        return True

    def answer(self, participant: str, given: bool) -> bool:
        """A consent, a refusal or a withdrawal. False when this one is not asked."""
        if self.state == "off" or participant not in self.asked:
            return False
        if not given:
            self.refused = [participant]
            return self.stop("refused")
        if participant not in self.consented:
            self.consented[participant] = self._now()
            if not self._settle("consented"):
                self._changed("consented")
        return True

    def joined(self, participant: str) -> None:
        """Someone came in: nothing is written until they consent, unless they had."""
        if self.state == "off" or participant in self.asked:
            return
        self.asked.append(participant)
        if participant in self.consented:
            self._settle("joined")
            return
        if self.state == "on":
            self.state = "paused"
            self._call("paused")
        self._until = self._ticks() + ANSWER_SECONDS
        self._changed("joined")

    def left(self, participant: str) -> None:
        """Their consent stays for a return, but nobody waits for them."""
        if self.state == "off" or participant not in self.asked:
            return
        self.asked.remove(participant)
        if not self.asked:
            self.stop("left")
        elif not self._settle("left"):
            self._changed("left")

    def failed(self, reason: str = "failed") -> None:
        """The writer could not go on: failed, disk-full, or limit (it is as long or as large as one may be)."""
        if self.state in ("on", "paused"):
            self.state, self.asked = "off", []
            self.consented.clear()
            self._changed(reason)

    def halt(self) -> None:
        """The room goes on elsewhere: what is written here ends here, and nobody is told."""
        if self.state in ("on", "paused"):
            self.state = "paused"
            self._call("off")

    def tick(self) -> None:
        """Gives up asking when an answer takes too long; a paused one stays paused, as someone present has not answered."""
        if self.state == "asking" and self._ticks() > self._until:
            self.stop("timeout")

    def record(self, with_refused: bool) -> dict[str, Any]:
        """As the protocol shows it."""
        return {
            "state": self.state, "by": self.by, "asked": list(self.asked), "consented": sorted(self.consented.keys() & set(self.asked)),
            "refused": list(self.refused) if with_refused else [],
        }  # fmt: skip

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"state": self.state, "by": self.by, "asked": list(self.asked), "consented": dict(self.consented)}

    def restore(self, saved: dict[str, Any]) -> None:
        """After a restart nothing is written until those who were asked are known to be back or gone."""
        self.state = "paused" if saved["state"] in ("on", "paused") else saved["state"]
        self.by, self.asked, self.consented = saved["by"], list(saved["asked"]), dict(saved["consented"])
        self._until = self._ticks() + ANSWER_SECONDS

    def back(self) -> None:
        """Someone came back after a restart: goes on if everyone asked has consented."""
        self._settle("joined")

    def _settle(self, reason: str) -> bool:
        """True when this turned it on (or tried to)."""
        if self.state not in ("asking", "paused") or not set(self.asked) <= self.consented.keys():
            return False
        self.state = "on"
        if self._call("on"):
            self._changed(reason)
        return True

    def _call(self, state: State) -> bool:
        try:
            self._hook(state, {who: when for who, when in self.consented.items() if who in self.asked})
        except Exception:  # the writer's fault must not take the room along
            if state != "off":
                self.failed()
            return False
        return True
