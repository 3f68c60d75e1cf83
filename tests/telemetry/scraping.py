"""What Prometheus reads of a service, parsed with its own parser."""

from collections.abc import Iterator
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Scrape(NamedTuple):
    """Samples by name and labels, and what is said about each metric of ours."""

    samples: dict[tuple[str, Labels], float]
    helps: dict[str, str]

    def value(self, name: str, **labels: str) -> float:
        """The sample with exactly these labels; 0 if there is none."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def names(self) -> set[str]:
        """The names of all samples of ours."""
        return {name for name, _ in self.samples}

    def since(self, before: "Scrape") -> "Scrape":
        """What was counted after another scrape; every test of a process counts in the same metrics."""
        changed = {key: value - before.samples.get(key, 0.0) for key, value in self.samples.items()}
        return Scrape({key: value for key, value in changed.items() if value}, self.helps)


def parsed(text: str) -> Scrape:
    """Parse an exposition, ours only, without the times at which counters were made."""
    samples: dict[tuple[str, Labels], float] = {}
    helps: dict[str, str] = {}
    for name, help, found in _families(text):
        helps[name] = help
        samples.update(found)
    return Scrape(samples, helps)


def _families(text: str) -> Iterator[tuple[str, str, dict[tuple[str, Labels], float]]]:
    for family in text_string_to_metric_families(text):
        if family.name.startswith("diptych_") and not family.name.endswith("_created"):
            found = {(each.name, frozenset(each.labels.items())): each.value for each in family.samples}
            yield family.name, family.documentation, found


async def scrape(client: httpx.AsyncClient, path: str = "/metrics") -> Scrape:
    """Ask for the metrics."""
    answer = await client.get(path)
    assert answer.status_code == 200
    return parsed(answer.text)
