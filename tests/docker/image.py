"""The Dockerfile and compose.yaml, taken apart: stages with their instructions, services with what is in force."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
DOCKER: Final = ROOT / "docker"


class Instruction(NamedTuple):
    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """Of its exec form, or split at spaces."""
        return json.loads(self.rest) if self.rest.startswith("[") else self.rest.split()


class Stage(NamedTuple):
    """`base`: an image, or an earlier stage."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[Instruction]:
        return [one for one in self.instructions if one.name == name]

    def only(self, name: str) -> Instruction:
        (found,) = self.all(name)
        return found

    def copies(self) -> Iterator[tuple[str | None, list[str], str]]:
        """(stage, sources, target) of each COPY."""
        for one in self.all("COPY"):
            words = one.words
            stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
            yield stage, words[:-1], words[-1]

    def variables(self) -> dict[str, str]:
        return dict(word.split("=", 1) for one in self.all("ENV") for word in one.words)


def stages(text: str) -> list[Stage]:
    """In order. An ARG before the first of them is put in where it is named."""
    plain = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = [line.strip() for line in re.sub(r"\\\n", " ", plain).splitlines() if line.strip()]
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for line in lines:
        name, _, rest = line.partition(" ")
        one = Instruction(name, " ".join(rest.split()))
        if name == "ARG" and not found:
            key, _, value = one.rest.partition("=")
            arguments[key] = value
        elif name == "FROM":
            base, _, alias = one.rest.partition(" AS ")
            found.append(Stage(alias, re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base), ()))
        else:
            found[-1] = found[-1]._replace(instructions=(*found[-1].instructions, one))
    return found


def dockerfile() -> dict[str, Stage]:
    return {stage.name: stage for stage in stages((DOCKER / "Dockerfile").read_text("utf-8"))}


def compose() -> dict[str, dict[str, dict[str, object]]]:
    """`<<` is resolved."""
    return yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
